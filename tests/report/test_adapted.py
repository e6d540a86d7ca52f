"""The report of a recogniser: whole, escaped, self-contained; numbers as they were measured."""

import re
import warnings

import numpy as np
import pytest
from PIL import Image

from anmok.adapt import adapt, read_examples
from anmok.report.adapted import card_text, verdict, write_adapted
from anmok.texts import UnsupportedScriptWarning


@pytest.fixture(scope="module")
def result(tiny_encoder, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapted")
    random = np.random.default_rng(0)
    for number, label in enumerate(["<b>x</b>".replace("/", "∕"), "컵", "plate", "spoon"]):
        (root / label).mkdir()
        for i in range(8):
            pixels = np.clip(60 * number + random.integers(0, 70, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")
    (root / "컵" / "bad.png").write_bytes(b"no")
    with warnings.catch_warnings():  # the tiny model's tokenizer cannot carry Hangul, which is said once a process
        warnings.simplefilter("ignore", UnsupportedScriptWarning)
        return adapt(tiny_encoder, read_examples(root))


def test_it_holds_every_section_and_nothing_from_outside(result, tmp_path):
    html = write_adapted(result, tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    for text in (
        "시도한 방법",
        "사진을 더 모으면",
        "혼동",
        "확률을 믿어도 되나",
        "쓰지 못한 사진",
        "bad.png",
        verdict(result),
    ):
        assert text.replace("'", "&#39;") in html
    assert html.count("<svg") == 2
    assert "http://" not in html and "https://" not in html and "<script" not in html
    assert "<b>x" not in html and "&lt;b&gt;x" in html


def test_the_numbers_are_those_of_the_result(result, tmp_path):
    html = write_adapted(result, tmp_path / "report.html").read_text(encoding="utf-8")
    for one in result.checked:
        assert f"{100 * one.accuracy:.1f}%" in html
    cells = re.findall(r'class="right"><i[^>]*></i><span>(\d*)</span>', html)
    assert [int(cell or 0) for cell in cells] == np.diag(result.confusion).tolist()


def test_the_card_says_what_it_is(result):
    text = card_text(result)
    assert "# A recogniser of 4 labels" in text and "컵" in text and result.classifier.encoder.fingerprint in text
