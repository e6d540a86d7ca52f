"""Cleaning equal to the references', each under its name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.texts.clean import _SOUND, CLEANERS

ASCII = st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&")
SYLLABLES = st.characters(min_codepoint=0xAC00, max_codepoint=0xD7A3)


@pytest.mark.parametrize("name", ["whitespace", "lower", "canonicalize"])
def test_cleaning_equals_open_clip(open_clip, strings, name):
    reference = open_clip.tokenizer.get_clean_fn(name)
    assert [text for text in strings if CLEANERS[name](text) != reference(text)] == []


@settings(max_examples=300, deadline=None)
@given(st.text(ASCII | SYLLABLES))
def test_texts_that_the_repair_is_skipped_for_are_ones_it_would_not_change(text):
    import ftfy

    assert _SOUND.fullmatch(text)
    assert ftfy.fix_text(text) == text


@pytest.mark.parametrize("text", ["a & b", "caf\u00e9", "\u1100\u1161", "a\tb", "\uff21", "\u200b", "â€œ"])
def test_all_other_texts_are_repaired(text):
    assert not _SOUND.fullmatch(text)


def test_siglip_cleaning_equals_transformers(transformers, siglip_files, strings):
    reference = transformers.SiglipTokenizer.from_pretrained(siglip_files)
    assert [text for text in strings if CLEANERS["siglip"](text) != reference.canonicalize_text(text)] == []
