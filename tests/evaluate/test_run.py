"""Whole evaluations with an encoder that sees everything and one that sees nothing."""

import json
import sys

import numpy as np
import pytest

from anmok.errors import MissingExtra
from anmok.evaluate import DataError, evaluate, evaluate_digits
from anmok.evaluate.data import Example
from anmok.evaluate.digits import digit_pictures
from anmok.evaluate.tasks import class_names, levels


def shoes(number):
    captions = {"captions_en": ["a pair of shoes", "photo"], "captions_ko": ["신발", "신발 사진"]}
    return b"a pair of shoes", {"source": "clothes", "labels": ["shoes"], **captions}


def hat(number):
    return b"a hat", {"source": "clothes", "labels": ["hat"], "captions_en": ["a hat"], "captions_ko": ["모자"]}


def test_classification_is_perfect_for_one_who_sees_and_chance_for_one_who_does_not(
    tmp_path, write_shard, encoder, blind_encoder
):
    write_shard(tmp_path / "clothes.tar", [shoes(0), shoes(1), hat(2)])
    found = evaluate(encoder, tmp_path, templates="none")
    result = found.get("clothes", "accuracy@1", "en")
    assert (result.value, result.n, result.chance) == (1.0, 3, 0.5)
    assert result.details["classes"] == 2
    assert result.low == pytest.approx(0.4385, abs=1e-3)
    blind = evaluate(blind_encoder, tmp_path)
    assert blind.get("clothes", "accuracy@1", "en").value == pytest.approx(0.5)
    assert blind.get("clothes", "accuracy@1", "ko").value == pytest.approx(0.5)
    assert {result.name for result in found} == {"clothes"}


def test_levels_of_labels_are_fine_and_coarse(tmp_path, write_shard, blind_encoder):
    rows = [
        (f"{fine} {n}".encode(), {"source": "g", "labels": [fine, wide], "captions_en": [fine]})
        for fine, wide in (("Anjou", "Pear"), ("Kaiser", "Pear"), ("Lime", "Lime"))
        for n in range(2)
    ]
    found = evaluate(blind_encoder, write_shard(tmp_path / "g.tar", rows))
    assert found.get("g fine", "accuracy@1", "en").value == pytest.approx(1 / 3)
    assert found.get("g coarse", "accuracy@1", "en").value == pytest.approx(1 / 2)
    with pytest.raises(KeyError):
        found.get("g fine", "accuracy@1", "ko")


def test_retrieval_is_perfect_or_chance(tmp_path, write_shard, encoder, blind_encoder):
    rows = [
        (f"text {n}".encode(), {"source": "pairs", "captions_en": [f"text {n}", "other"], "captions_ko": ["글"]})
        for n in range(20)
    ]
    write_shard(tmp_path / "one.tar", rows[:12])
    write_shard(tmp_path / "two.tar", rows[12:])
    for direction in ("text to picture", "picture to text"):
        result = evaluate(encoder, tmp_path).get("pairs", f"{direction} recall@1", "en")
        assert (result.value, result.n, result.chance) == (1.0, 20, pytest.approx(1 / 20))
        blind = evaluate(blind_encoder, tmp_path).get("pairs", f"{direction} recall@10", "en")
        assert blind.value == pytest.approx(0.5)
        assert blind.chance == pytest.approx(0.5)
    korean = evaluate(blind_encoder, tmp_path).get("pairs", "text to picture recall@1", "ko")
    assert korean.value == korean.chance == 1.0  # one caption for all: every picture is right


def test_names_that_are_all_different_are_retrieved(tmp_path, write_shard, encoder):
    rows = [
        (f"name {n}".encode(), {"source": "emoji", "labels": [f"name {n}"], "captions_en": [f"name {n}"]})
        for n in range(4)
    ]
    found = evaluate(encoder, write_shard(tmp_path / "e.tar", rows))
    assert found.get("emoji", "text to picture recall@1", "en").value == 1.0
    assert all("recall" in result.metric for result in found)


def test_bad_pictures_are_listed_and_the_rest_measured(tmp_path, write_shard, encoder):
    path = write_shard(tmp_path / "c.tar", [shoes(0), (b"broken", shoes(1)[1]), shoes(2), hat(3)])
    found = evaluate(encoder, path, templates="none")
    assert found.failed == (("c.tar:k001.webp", "is broken"),)
    assert found.get("clothes", "accuracy@1", "en").n == 3
    with pytest.raises(DataError, match=r"none of the 1 pictures could be used. The first: d.tar:k000.webp: is broken"):
        evaluate(encoder, write_shard(tmp_path / "d.tar", [(b"broken", shoes(1)[1])]))


def test_folders_and_tables_work_too(tmp_path, encoder):
    for name, text in (("cat/1.jpg", "cat"), ("cat/2.jpg", "cat"), ("dog/3.jpg", "dog")):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_text(text, encoding="utf-8")
    assert evaluate(encoder, tmp_path / "folder", templates="none").get("folder", "accuracy@1", "en").value == 1.0
    table = tmp_path / "folder" / "pairs.csv"
    table.write_text("filepath,title\ncat/1.jpg,cat\ndog/3.jpg,dog\nmissing/4.jpg,x\n", encoding="utf-8")
    table.parent.joinpath("missing").mkdir()
    (table.parent / "missing" / "4.jpg").write_text("broken", encoding="utf-8")
    found = evaluate(encoder, table)
    assert found.get("pairs", "picture to text recall@1", "en").value == 1.0
    assert found.failed == (("missing/4.jpg", "is broken"),)


def test_evaluation_is_one_table(tmp_path, write_shard, encoder):
    path = write_shard(tmp_path / "c.tar", [shoes(0), shoes(1), hat(2), (b"broken", hat(2)[1])])
    found = evaluate(encoder, path, templates="none")
    lines = [json.loads(line) for line in found.json_lines()]
    assert lines[0]["encoder"] == "fake"
    assert lines[0]["name"] == "clothes"
    assert lines[-1] == {"picture": "c.tar:k003.webp", "error": "is broken"}
    assert "| clothes | en | accuracy@1 | 100.0 | 43.9–100.0 | 50.0 | 3 |" in found.markdown()
    assert len(found + found) == 2 * len(found)
    assert (found + found).failed == found.failed


def example(labels, english=(), korean=()):
    return Example("n", "s", b"", labels, (("en", english), ("ko", korean)))


def test_class_names_are_what_most_pictures_say():
    examples = [example(("x",), ("a",)), example(("x",), ("b",)), example(("x",), ("b", "a"))]
    assert class_names(examples, ["x"] * 3, "en") == {"x": "b"}
    assert class_names(examples, ["x"] * 3, "ko") is None


def test_coarse_names_are_lower_case_words_and_the_shortest_korean():
    examples = [example(("A", "Oat-Milk"), ("a",), ("오틀리 귀리 우유", "귀리 우유"))]
    assert class_names(examples, ["Oat-Milk"], "en", widest=True) == {"Oat-Milk": "oat milk"}
    assert class_names(examples, ["Oat-Milk"], "ko", widest=True) == {"Oat-Milk": "귀리 우유"}


def test_labels_that_are_all_different_or_all_equal_are_no_classes():
    assert levels([example(("a",)), example(("b",))]) == []
    assert levels([example(("a",)), example(("a",))]) == []
    assert levels([example(("a", "x")), example(("a", "x")), example(("b", "x"))]) == [("a", "a", "b")]
    assert levels([]) == []


def test_digits_are_bright_on_black():
    pytest.importorskip("sklearn")
    pictures, digits = digit_pictures()
    assert pictures.shape == (1797, 128, 128, 3)
    assert sorted(set(digits.tolist())) == list(range(10))
    assert np.median(pictures) < 50


def test_digits_without_scikit_learn_name_the_extra(monkeypatch, encoder):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtra, match=r"scikit-learn, which is not installed: pip install 'anmok\[evaluate\]'"):
        evaluate_digits(encoder)


def test_digits_reach_chance_without_seeing(monkeypatch, blind_encoder):
    pytest.importorskip("sklearn")
    monkeypatch.setattr("anmok.evaluate.digits.SIDE", 2)
    monkeypatch.setattr(
        type(blind_encoder), "encode_image", lambda self, pictures: self.encode_text(["x"] * len(pictures))
    )
    found = evaluate_digits(blind_encoder)
    assert found.get("digits", "accuracy@1", "en").value == pytest.approx(0.1)
    assert found.get("digits", "accuracy@1", "ko").n == 1797
