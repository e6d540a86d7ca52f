"""`anmok explain`: the map, the page, the record, and what it refuses."""

import pytest
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::anmok.texts.UnsupportedScriptWarning")


def test_a_map_a_page_and_a_record(anmok, photos, tiny_folder, tmp_path):
    picture = photos / "one.png"
    made, page = tmp_path / "new" / "map.png", tmp_path / "why.html"
    run = anmok("explain", picture, "a <b>cat</b>", "-m", tiny_folder, "-o", made, "--html", page, "--json")
    assert run.status == 0
    with Image.open(made) as image:
        assert image.size == (40, 30)
    (record,) = run.records
    assert set(record) == {"picture", "target", "against", "method", "score", "strength", "hottest", "words"}
    assert [word["word"] for word in record["words"]] == ["a", "<b>cat</b>"]
    assert 0 <= record["hottest"]["x"] < 40
    html = page.read_text(encoding="utf-8")
    assert "<b>cat" not in html
    assert "&lt;b&gt;cat" in html
    assert "http://" not in html and "https://" not in html and "<script" not in html
    assert html.count("data:image/jpeg;base64,") == 2


def test_against_is_the_difference(anmok, photos, tiny_folder, tmp_path):
    def score(*arguments):
        run = anmok("explain", photos / "one.png", *arguments, "-m", tiny_folder, "--json", "--method", "occlusion")
        return run.records[0]["score"]

    assert score("a cat", "--against", "a dog") == pytest.approx(score("a cat") - score("a dog"), abs=1e-5)


def test_two_pictures_have_a_map_each(anmok, photos, tiny_folder, tmp_path):
    page = tmp_path / "pair.html"
    run = anmok("explain", photos / "one.png", photos / "bags" / "two.png", "-m", tiny_folder, "--html", page)
    assert run.status == 0
    html = page.read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 3
    assert "Word by word" not in html


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to write: give --output"),
        (("-o", "map.jpg"), "name a .png file"),
        (("--json", "--method", "gradcam"), "not one for the picture tower"),
        (("--json", "--method", "ocllusion"), "Did you mean 'occlusion'"),
    ],
)
def test_refusals(arguments, said, anmok, photos, tiny_folder):
    run = anmok("explain", photos / "one.png", "a cat", "-m", tiny_folder, *arguments)
    assert run.status == 2
    assert said in run.err
    assert "Traceback" not in run.err


def test_a_bad_picture_is_named(anmok, photos, tiny_folder):
    run = anmok("explain", photos / "bad.jpg", "a cat", "-m", tiny_folder, "--json")
    assert run.status == 2
    assert "bad.jpg" in run.err


def test_a_long_text_is_no_file_name(anmok, photos, tiny_folder):
    run = anmok("explain", photos / "one.png", "cat " * 300, "-m", tiny_folder, "--json", "--method", "occlusion")
    assert run.status == 0
