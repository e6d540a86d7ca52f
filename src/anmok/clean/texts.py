"""Does a text say anything about a picture? In English and Korean, each counted by its own rule.

A syllable of Hangul says about what two Latin letters do, and a Korean noun is often one or two syllables long (귤,
사과). So a syllable counts as two letters, and two syllables as a word. Lone consonants and vowels (ㅋㅋㅋ) count as
none.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from anmok.clean.boilerplate import boilerplate

if TYPE_CHECKING:
    from anmok.clean.settings import CleanSettings

__all__ = ["count_letters", "count_words", "judge_text", "same_text"]

_SYLLABLE = re.compile("[\uac00-\ud7a3\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_JAMO = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\ud7b0-\ud7ff]")  # consonants and vowels on their own
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REPLACED = ("\ufffd", "占쏙옙", "锟斤拷")  # what is left of letters that a decoder could not read, also decoded twice

LEAST_LETTERS = 0.4  # share of letters among the signs of a text; below, it is mostly digits and punctuation


def judge_text(text: str, settings: CleanSettings) -> tuple[str, str] | None:
    """The first reason to drop a text and what was seen, or None.

    >>> from anmok.clean import CleanSettings
    >>> judge_text("IMG_1234.JPG", CleanSettings())
    ('boilerplate text', 'is a file name')
    >>> judge_text("귤", CleanSettings()) is None
    True
    """
    found = (
        ("damaged text", _damage(text)),
        ("boilerplate text", _emptiness(text)),
        ("short text", _shortness(text, settings)),
    )
    return next(((name, detail) for name, detail in found if detail and name not in settings.keep), None)


def count_letters(text: str) -> int:
    """Letters of a text; a syllable of Hangul, a Han or a Kana letter counts as two, a lone jamo as none."""
    text = _JAMO.sub("", unicodedata.normalize("NFC", text))
    return sum(character.isalpha() for character in text) + len(_SYLLABLE.findall(text))


def count_words(text: str) -> int:
    """Words of a text: what stands between spaces and has a letter; of syllables, every two are a word."""
    words = unicodedata.normalize("NFC", text).split()
    return sum(max(1, len(_SYLLABLE.findall(word)) // 2) for word in words if count_letters(word))


def same_text(text: str) -> str:
    """The form in which texts are compared: case and spaces do not matter."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _damage(text: str) -> str:
    if _SURROGATE.search(text):
        return "holds half a letter (a lone surrogate)"
    if any(mark in text for mark in _REPLACED):
        return "holds marks of letters that could not be read (U+FFFD)"
    if _CONTROL.search(text):
        return "holds control characters"
    if text.isascii():
        return ""
    from ftfy import fix_text
    from ftfy.badness import is_bad
    from ftfy.fixes import fix_c1_controls

    if not is_bad(fix_c1_controls(text)):  # Windows' dashes read as Latin-1 are harmless: every tokenizer takes them
        return ""
    meant = fix_text(text)
    return "was read in a wrong encoding" + (f"; it may mean {meant!r}" if meant != text else "")


def _shortness(text: str, settings: CleanSettings) -> str:
    letters, words = count_letters(text), count_words(text)
    if letters < settings.min_letters:
        return f"letters: {letters}, below {settings.min_letters}"
    return f"words: {words}, below {settings.min_words}" if words < settings.min_words else ""


def _emptiness(text: str) -> str:
    if what := boilerplate(text):
        return what
    letters = count_letters(text)
    others = sum(not character.isalpha() and unicodedata.category(character)[0] not in "MZ" for character in text)
    return "is mostly digits and signs" if letters and letters < LEAST_LETTERS * (letters + others) else ""
