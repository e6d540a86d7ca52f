"""The page of explanations: self-contained, escaped, words colored by what they add."""

import numpy as np

from anmok.report import Page, thumbnail
from anmok.report.explained import ExplainedPage, Map, Sentence, render_explained

GRAY = np.full((30, 40, 3), 128, np.uint8)


def page(**changes) -> str:
    maps = [Map("one.jpg", "30 x 40", thumbnail(GRAY)), Map("a <i>cat</i>", "warm", thumbnail(GRAY))]
    sentence = Sentence([("a", -0.01), ("<i>cat</i>", 0.2), ("고양이", 0.1)])
    return render_explained(ExplainedPage(Page("Why?", facts={"score": "0.3"}), maps, sentence, **changes))


def test_maps_and_words_stand_on_the_page():
    html = page(colors=["rgb(1, 2, 3)"])
    for text in ("one.jpg", "고양이", "+0.200", "-0.010", "<dt>score</dt>", "linear-gradient(90deg, rgb(1, 2, 3))"):
        assert text in html
    assert "<i>cat" not in html
    assert "http" not in html


def test_the_strongest_word_has_the_strongest_color():
    assert Sentence([("a", -0.05), ("b", 0.1)]).colored == [("a", -0.05, -0.5), ("b", 0.1, 1.0)]
    assert Sentence([("a", 0.0)]).colored == [("a", 0.0, 0.0)]


def test_a_map_without_a_cold_side_says_so():
    assert "반대 근거" in page()
    assert "반대 근거" not in page(signed=False)
