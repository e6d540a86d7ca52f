"""`anmok clean`: what it prints, writes and refuses, and how it ends."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from anmok.clean import CleanSettings
from anmok.cli import clean as command
from anmok.pairs import Pair, open_pairs, write_shards


def picture(seed, side=80):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(pixels).resize((side, side), 3)).astype(int)
    buffer = io.BytesIO()
    grain = rng.integers(-20, 21, smooth.shape)
    Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def shards(tmp_path):
    """Six good pairs, and one each that is damaged, small, said twice, and says nothing; one has a bad text too."""
    pairs = [Pair(f"p{k}", picture(k), (f"the text of p{k}", *(["IMG_0001.JPG"] * (k == 0)))) for k in range(6)]
    pairs += [
        Pair("damaged", picture(10)[:500], ("cut in the middle",)),
        Pair("small", picture(11, 20), ("a small one",)),
        Pair("twice", picture(0), ("said twice",)),
        Pair("empty", picture(12), ("대표 이미지",)),
    ]
    write_shards(pairs, tmp_path / "shards")
    return tmp_path / "shards"


def test_clean_writes_shards_lists_and_a_page(anmok, shards, tmp_path):
    output, page = tmp_path / "cleaned", tmp_path / "report.html"
    run = anmok("clean", shards, "--output", output, "--report", page)
    assert run.status == 0
    assert "6 of 10 pairs kept, 1 of their texts dropped" in run.err
    assert "Low resolution · 낮은 해상도" in run.out
    assert len(open_pairs(output)) == 6
    lines = [json.loads(line) for line in (output / "removed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(line["reason"] for line in lines if line["dropped"] == "pair") == [
        "boilerplate text", "low resolution", "same file", "unreadable",
    ]  # fmt: skip
    html = page.read_text(encoding="utf-8")
    for part in (
        "Same file · 같은 파일",
        "남김",
        "“대표 이미지” says nothing",
        "text only · 글만",
        "80 x 80 → 80 x 80",
    ):
        assert part in html
    assert html.count("data:image/jpeg") == 4  # small, twice beside what stays, empty, the bad text


def test_a_dry_run_writes_only_the_page(anmok, shards, tmp_path):
    run = anmok("clean", shards, "--dry-run", "-o", tmp_path / "out", "--report", tmp_path / "r.html", "-m", "none")
    assert run.status == 0
    assert {path.name for path in tmp_path.iterdir()} == {"shards", "r.html"}


def test_json_is_one_object(anmok, shards):
    run = anmok("clean", shards, "--dry-run", "--json", "-m", "none")
    assert len(run.records) == 1
    assert run.records[0]["kept"] == 6
    assert run.records[0]["dropped"]["unreadable"] == 1
    assert run.records[0]["output"] is None


def test_thresholds_and_what_to_keep(anmok, shards):
    run = anmok(
        "clean", shards, "--dry-run", "--json", "-m", "none", "--min-side", 10, "--keep", "same file", "--keep",
        "same pixels", "--keep", "near duplicate", "--min-words", 4, "--max-repeats", "50%",
    )  # fmt: skip
    dropped = run.records[0]["dropped"]
    assert dropped == {"unreadable": 1, "short text": 2, "boilerplate text": 1}


def test_against_drops_what_the_held_out_set_shows_and_says_what_could_not_be_read(anmok, shards, tmp_path):
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "a.png").write_bytes(picture(3))
    page = tmp_path / "page.html"
    run = anmok("clean", shards, "-o", tmp_path / "out", "--against", tmp_path / "eval", "--report", page)
    assert run.status == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["dropped"]["held out"] == 1
    assert "평가용" in page.read_text(encoding="utf-8")
    (tmp_path / "eval" / "b.png").write_bytes(b"no picture")
    run = anmok("clean", shards, "--dry-run", "--against", tmp_path / "eval", "-m", "none")
    assert run.status == 1
    assert "b.png: is not a picture" in run.err


def test_a_cut_archive_ends_with_status_1_and_the_rest_is_done(anmok, shards, tmp_path):
    tar = next(shards.glob("*.tar"))
    data = tar.read_bytes()
    tar.write_bytes(data[: len(data) * 2 // 3])
    run = anmok("clean", shards, "-o", tmp_path / "out", "-m", "none", "--report", tmp_path / "page.html")
    assert run.status == 1
    assert "it ends in the middle" in run.err
    assert len(open_pairs(tmp_path / "out")) >= 3
    assert "What could not be opened" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_nothing_left_is_status_1(anmok, shards, tmp_path):
    assert anmok("clean", shards, "-o", tmp_path / "out", "-m", "none", "--min-side", 1000).status == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --output FOLDER, or --dry-run"),
        (["--dry-run", "--drop-lowest", "five"], "--drop-lowest five: expected a share such as 5%"),
        (["--dry-run", "--drop-lowest", "500%"], "drop_lowest is 5.0, expected 0 to 1"),
        (["--dry-run", "--drop-lowest", "5%", "-m", "none"], "needs an encoder"),
        (["--dry-run", "--keep", "blured"], "Did you mean 'blurred'?"),
        (["--dry-run", "--against", "none/"], "no such file"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_2(anmok, shards, arguments, message):
    run = anmok("clean", shards, *arguments)
    assert run.status == 2
    assert message in run.err
    assert "Traceback" not in run.err


def test_the_source_is_not_replaced_by_the_result(anmok, shards):
    for output in (shards, shards.parent):
        run = anmok("clean", shards, "--output", output, "-m", "none")
        assert run.status == 2
        assert "would be replaced" in run.err
    assert len(open_pairs(shards)) == 10


def test_help_tells_the_true_defaults():
    annotations = command.clean.__annotations__
    checked = 0
    for name, value in CleanSettings().to_dict().items():
        if name not in annotations or isinstance(value, (bool, list)) or name in ("min_match", "drop_lowest"):
            continue
        told = re.search(r"\(default: ([^)]*)\)", str(annotations[name]))
        assert told, name
        text = told.group(1)
        assert float(text.removesuffix("%")) / (100 if text.endswith("%") else 1) == value, name
        checked += 1
    assert checked == 9


def test_half_letters_on_the_page_and_in_json(anmok, tmp_path):
    """As JavaScript cuts them, and JSON hands them on."""
    (tmp_path / "shards").mkdir()
    for k in range(4):
        (tmp_path / "shards" / f"{k}.png").write_bytes(picture(k))
    texts = ["half \ud83d"] * 3 + ["a whole text"]
    rows = [json.dumps({"file_name": f"{k}.png", "text": text}) for k, text in enumerate(texts)]
    (tmp_path / "shards" / "metadata.jsonl").write_text("\n".join(rows))
    keep = ["--keep", "damaged text"]
    run = anmok("clean", tmp_path / "shards", "--dry-run", "--json", "-m", "none", *keep)
    assert {"text": "half ?", "pictures": 3} in run.records[0]["repeated"]
    page = tmp_path / "page.html"
    assert anmok("clean", tmp_path / "shards", "--dry-run", "-m", "none", "--report", page).status == 0
    assert "lone surrogate" in page.read_text(encoding="utf-8")
