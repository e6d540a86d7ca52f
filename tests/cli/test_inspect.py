"""`anmok inspect fit` and `anmok inspect run`, with the built-in model."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw


def part(seed, *, fault=False):
    """A dark plate with two holes on a light ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (120, 96), (215, 214, 208))
    pen = ImageDraw.Draw(image)
    pen.rectangle((12, 12, 108, 84), fill=(96, 104, 116))
    for x in (34, 86):
        pen.ellipse((x - 9, 39, x + 9, 57), fill=(215, 214, 208))
    if fault:
        pen.ellipse((54, 30, 72, 48), fill=(190, 40, 30))
    return Image.fromarray(np.clip(np.asarray(image) + rng.normal(0, 2, (96, 120, 3)), 0, 255).astype(np.uint8))


@pytest.fixture
def line(tmp_path):
    """good/ of 10 parts; line/ of three more, one of them faulty, and a file that is no picture."""
    for folder in ("good", "line"):
        (tmp_path / folder).mkdir()
    for seed in range(10):
        part(seed).save(tmp_path / "good" / f"{seed}.png")
    for seed, fault in ((20, False), (21, True), (22, False)):
        part(seed, fault=fault).save(tmp_path / "line" / f"{'나사 결함' if fault else seed}.png")
    (tmp_path / "line" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def test_fit_then_run(anmok, line):
    inspector = line / "plates.inspector"
    fitted = anmok("inspect", "fit", line / "good", "--output", inspector)
    assert fitted.status == 0
    assert "patch memory, from 10 good pictures" in fitted.out
    assert "10 pictures cannot promise less" in fitted.out
    assert json.loads((inspector / "inspector.json").read_text(encoding="utf-8"))["method"] == "patch memory"

    ran = anmok("inspect", "run", line / "line", "--inspector", inspector, "--json",
                "--maps", line / "maps", "--html", line / "found.html")  # fmt: skip
    assert ran.status == 1  # one file is no picture; the others are done
    by_name = {record["picture"].rsplit("/", 1)[-1]: record for record in ran.records}
    assert "not a picture" in by_name["broken.png"]["error"]
    fault = by_name["나사 결함.png"]
    assert fault["fault"] and fault["p_value"] == pytest.approx(1 / 11)
    left, top, right, bottom = fault["boxes"][0]["box"]
    assert left < 63 < right and top < 39 < bottom
    assert fault["score"] > max(by_name[f"{seed}.png"]["score"] for seed in (20, 22))
    assert sorted(path.name for path in (line / "maps").iterdir()) == ["20.png", "22.png", "나사 결함.png"]
    with Image.open(line / "maps" / "나사 결함.png") as drawn:
        assert drawn.size == (120, 96)
    page = (line / "found.html").read_text(encoding="utf-8")
    assert "나사 결함.png" in page and "broken.png" in page and page.count("data:image/webp") >= 1


def test_one_good_picture_goes_on_and_says_so(anmok, line):
    fitted = anmok("inspect", "fit", line / "good" / "0.png", "--output", line / "one")
    assert fitted.status == 0 and "few-shot" in fitted.out and "promises nothing" in fitted.out
    ran = anmok("inspect", "run", line / "line" / "나사 결함.png", "--inspector", line / "one")
    assert ran.status == 0 and ran.out.startswith("FAULT")


def test_words_need_no_fit(anmok, line):
    ran = anmok("inspect", "run", line / "good", "--object", "금속판", "--json")
    assert ran.status == 0 and "words alone" in ran.err
    assert all(0 < record["score"] < 1 and record["p_value"] is None for record in ran.records)


@pytest.mark.parametrize("given", [(), ("--inspector", "x", "--object", "nut")])
def test_either_an_inspector_or_a_name(anmok, line, given):
    ran = anmok("inspect", "run", line / "good", *given)
    assert ran.status == 2 and "either" in ran.err


def test_no_inspector_there(anmok, line):
    ran = anmok("inspect", "run", line / "good", "--inspector", line / "none")
    assert ran.status == 2 and "anmok inspect fit" in ran.err


def test_no_readable_good_picture(anmok, line):
    ran = anmok("inspect", "fit", line / "line" / "broken.png", "--output", line / "x")
    assert ran.status == 2 and "not a picture" in ran.err


def test_a_good_state_that_moved_is_told(anmok, line):
    anmok("inspect", "fit", line / "good", "--output", line / "plates")
    (line / "dark").mkdir()
    for seed in range(12):
        dark = np.asarray(part(seed + 50), np.float32) * 0.5
        Image.fromarray(dark.astype(np.uint8)).save(line / "dark" / f"{seed}.png")
    ran = anmok("inspect", "run", line / "dark", "--inspector", line / "plates")
    assert "seems to have moved" in ran.err
