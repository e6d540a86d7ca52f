"""Records: what they say of their picture."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.pairs.fields import TEXT_FIELDS, Fields, from_labels, read_fields

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*TEXT_FIELDS, "captions_en", "captions_ko", "labels", "label", "source", "facts", "x"])


def test_fields_have_a_fixed_order_and_the_rest_is_facts():
    record = {
        "alt": "d", "title": "c", "text": ["b", "a"], "caption": "a", "captions_ko": ["가"], "captions_en": ["e"],
        "labels": ["x", "y"], "label": "z", "source": "s", "license": "MIT", "nothing": None,
    }  # fmt: skip
    assert read_fields(record, beside=" first\n") == Fields(
        ("first", "a", "b", "c", "d", "e", "가"),
        {"en": ("e",), "ko": ("가",)},
        ("x", "y", "z"),
        "s",
        {"license": "MIT"},
    )


def test_a_named_field_comes_first():
    assert read_fields({"alt": "b", "mine": ["m", "n"]}, beside="a", text_key="mine").texts == ("m", "n", "a", "b")


def test_a_list_of_texts_is_all_there_is():
    fields = read_fields({"texts": ["b ", "a"], "captions": {"en": ["a"], "ko": ["나"]}}, beside="b")
    assert fields.texts == ("b ", "a")
    assert fields.captions == {"en": ("a",), "ko": ("나",)}


@pytest.mark.parametrize("value", [3, None, True, {"a": 1}, ["a", 3], [["a"]]])
def test_what_is_no_text_stays_a_fact(value):
    fields = read_fields({"caption": value, "title": "t"})
    assert fields.texts == ("t",)
    assert fields.facts == ({} if value is None else {"caption": value})


def test_blank_texts_are_none():
    assert read_fields({"caption": "  ", "captions": ["", "\n"], "text": []}, beside="\ufeff ").texts == ()


def test_levels_of_one_name_stay_apart():
    assert read_fields({"labels": ["Avocado", "Avocado"], "label": "Avocado"}).labels == ("Avocado", "Avocado")


def test_labels_fill_templates_where_there_are_no_texts():
    templates = ("{}", "a photo of a {}.", "{} 사진")
    assert read_fields({"label": "red_bag"}, templates=templates).texts == ("red bag", "a photo of a red bag.")
    assert read_fields({"labels": ["가방", "물건"]}, templates=templates).texts == ("가방", "가방 사진")
    assert read_fields({"label": "bag", "caption": "a bag"}, templates=templates).texts == ("a bag",)
    assert from_labels(["cup", "컵"], templates) == ("cup", "a photo of a cup.", "컵", "컵 사진")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(names, json_values, max_size=6), st.text(max_size=5))
def test_any_record_gives_texts_that_are_not_empty_and_loses_nothing(record, beside):
    fields = read_fields(record, beside=beside, text_key="x", templates=("{}",))
    assert all(text.strip() for text in fields.texts)
    assert len(set(fields.texts)) == len(fields.texts)
    assert all(isinstance(text, str) for texts in fields.captions.values() for text in texts)
    strings = [value for name, value in record.items() if isinstance(value, str) and value.strip() and name != "source"]
    assert all(text.strip() in (*fields.texts, *fields.labels) for text in strings if text not in fields.facts.values())
