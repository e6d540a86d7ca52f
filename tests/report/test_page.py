"""The page people look at: self-contained, escaped, whole."""

import base64
import io

import numpy as np
from PIL import Image

from anmok.report import Card, Page, Row, render, thumbnail, write

RED = np.full((40, 80, 3), (250, 0, 0), np.uint8)


def test_page_shows_names_bars_badges_and_messages():
    card = Card("컵.jpg", thumbnail(RED), (("컵 cup", 0.873), ("plate", 0.1)), badge="none of these")
    html = render(
        Page("Seen", facts={"pictures": "1"}, rows=[Row("Pictures", [card]), Row("Search", message="nothing found")])
    )
    for text in (
        "컵.jpg",
        "컵 cup",
        "87%",
        "width: 87.3%",
        "none of these",
        "nothing found",
        "<dt>pictures</dt><dd>1</dd>",
    ):
        assert text in html


def test_page_fetches_nothing():
    html = render(Page("Seen", rows=[Row("Pictures", [Card("a", thumbnail(RED))])]))
    assert "http://" not in html
    assert "https://" not in html
    assert "<script" not in html


def test_text_from_outside_is_escaped():
    html = render(Page("<b>x</b>", rows=[Row("r", [Card("<img onerror=alert(1)>", error="<i>bad</i>")])]))
    assert "<img onerror" not in html
    assert "<i>bad" not in html
    assert "&lt;b&gt;" in html


def test_a_picture_that_failed_shows_why():
    assert "is empty" in render(Page("t", rows=[Row("r", [Card("a.jpg", error="is empty")])]))


def decode(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))


def test_thumbnail_keeps_the_aspect_ratio():
    assert decode(thumbnail(np.zeros((300, 900, 3), np.uint8), side=90)).size == (90, 30)


def test_tiny_picture_is_enlarged():
    assert min(decode(thumbnail(np.zeros((8, 8, 3), np.uint8), side=320)).size) >= 150


def test_thumbnail_of_a_bad_picture_is_empty(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"not a picture")
    assert thumbnail(bad) == ""


def test_write_makes_the_folder_and_leaves_no_scraps(tmp_path):
    path = write(Page("Seen"), tmp_path / "new" / "page.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
