"""`anmok adapt`: from a folder to a recogniser that classify loads, and what to label next."""

import json

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")

COLORS = {"red": (220, 30, 30), "파랑": (30, 40, 220), "green": (40, 190, 60)}


def paint(folder, counts, *, start=0):
    for label, count in counts.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            noise = np.random.default_rng([number, len(label)]).integers(-20, 20, (24, 30, 3))
            pixels = np.clip(np.array(COLORS[label]) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def examples(tmp_path):
    return paint(tmp_path / "examples", dict.fromkeys(COLORS, 6))


@pytest.fixture
def recogniser(anmok, examples, tiny_folder, tmp_path):
    run = anmok("adapt", examples, "-o", tmp_path / "r", "-m", tiny_folder)
    assert run.status == 0, run.err
    return tmp_path / "r"


def test_a_recogniser_is_made_told_and_used(anmok, recogniser, examples):
    assert {file.name for file in recogniser.iterdir()} == {
        "recogniser.json", "arrays.safetensors", "README.md", "report.html",
    }  # fmt: skip
    run = anmok("classify", examples / "red", "--labels", recogniser, "--json")
    assert run.status == 0
    assert [record["predictions"][0]["label"] for record in run.records] == ["red"] * 6
    sets = anmok("classify", examples / "red", "--labels", recogniser, "--error-rate", 0.2, "--json").records
    assert all("red" in [p["label"] for p in record["predictions"]] for record in sets)


def test_the_table_says_what_was_tried(anmok, examples, tiny_folder, tmp_path):
    run = anmok("adapt", "fit", examples, "-o", tmp_path / "r", "-m", tiny_folder, "--shots", 4, "--json")
    assert run.records[0]["examples"] == 12
    shown = anmok("adapt", examples, "-o", tmp_path / "r", "-m", tiny_folder)
    assert all(name in shown.out for name in ("zero-shot", "Tip-Adapter", "probe"))
    assert "report: file://" in shown.err


def test_bad_pictures_are_told_and_the_rest_is_done(anmok, examples, tiny_folder, tmp_path):
    (examples / "red" / "bad.png").write_bytes(b"not a picture")
    (examples / "green" / "stolen.png").write_bytes((examples / "red" / "1.png").read_bytes())
    run = anmok("adapt", examples, "-o", tmp_path / "r", "-m", tiny_folder)
    assert run.status == 1
    assert "left out: red/bad.png:" in run.err
    assert "is labelled 'green' and 'red'" in run.err
    facts = json.loads((tmp_path / "r" / "recogniser.json").read_text(encoding="utf-8"))["facts"]
    assert facts["examples"] == 17 and len(facts["left out"]) == 3
    assert "red/bad.png" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "missing", "there is no such file or folder"),
        (lambda p: paint(p / "one", {"red": 3}), "one label only, 'red'"),
    ],
)
def test_what_cannot_be_adapted_to_ends_with_2(anmok, tiny_folder, tmp_path, make, message):
    run = anmok("adapt", make(tmp_path), "-o", tmp_path / "r", "-m", tiny_folder)
    assert run.status == 2 and message in run.err and not (tmp_path / "r").exists()


def test_what_to_label_next(anmok, recogniser, tmp_path):
    pool = paint(tmp_path / "pool", {"red": 3, "green": 3}, start=50)
    (pool / "bad.png").write_bytes(b"no")
    page = tmp_path / "next.html"
    run = anmok("adapt", "next", pool, "--recogniser", recogniser, "--top", 4, "--json", "--html", page)
    assert run.status == 1 and "bad.png" in run.err
    assert [record["rank"] for record in run.records] == [1, 2, 3, 4]
    assert len({record["picture"] for record in run.records}) == 4
    assert page.read_text(encoding="utf-8").count("<figure") == 4


def test_a_table_with_columns_is_learned_and_classified(anmok, examples, tiny_folder, tmp_path):
    rows = ["filepath,label,heat"]
    rows += [
        f"{file},{'hot' if i % 2 else 'cold'},{90 if i % 2 else 20}" for i, file in enumerate(examples.rglob("*.png"))
    ]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    assert anmok("adapt", table, "-o", tmp_path / "r", "-m", tiny_folder).status == 0
    assert "both · 함께" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    found = anmok("classify", table, "--labels", tmp_path / "r", "--json").records
    assert [record["predictions"][0]["label"] for record in found] == ["cold", "hot"] * 9


def test_another_model_and_words_alone_are_refused(anmok, recogniser, examples):
    other = anmok("classify", examples / "red", "--labels", recogniser, "-m", "anmok-mino")
    assert other.status == 2
    words = anmok("classify", examples / "red", "--labels", "red,green", "--error-rate", 0.1)
    assert words.status == 2 and "anmok adapt" in words.err
