"""Cleaning equal to the references', each under its name."""

import pytest

from anmok.texts.clean import CLEANERS


@pytest.mark.parametrize("name", ["whitespace", "lower", "canonicalize"])
def test_cleaning_equals_open_clip(open_clip, strings, name):
    reference = open_clip.tokenizer.get_clean_fn(name)
    assert [text for text in strings if CLEANERS[name](text) != reference(text)] == []


def test_plain_ascii_is_not_changed_by_the_repair_that_is_skipped_for_it():
    import ftfy

    printable = "".join(map(chr, range(32, 127)))
    texts = [printable.replace("&", "")] + [a + b for a in printable for b in printable if "&" not in (a, b)]
    assert [text for text in texts if ftfy.fix_text(text) != text] == []


def test_siglip_cleaning_equals_transformers(transformers, siglip_files, strings):
    reference = transformers.SiglipTokenizer.from_pretrained(siglip_files)
    assert [text for text in strings if CLEANERS["siglip"](text) != reference.canonicalize_text(text)] == []
