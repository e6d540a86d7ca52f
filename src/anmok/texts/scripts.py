"""Which scripts of a text a tokenizer cannot carry, and the warning that says so.

A byte-level tokenizer can encode anything, so nothing fails when Korean goes to an English
CLIP: each syllable becomes two or three tokens that the text tower hardly ever saw, and the
answer is noise. The sign is the count: a tokenizer that learned a script has whole syllables
and common words of it; one that did not spends a token on every byte or two (or the unknown
token on all of it).
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anmok.texts.tokenizer import Tokenizer

__all__ = ["UnsupportedScript", "UnsupportedScriptWarning", "unsupported_scripts", "warn_unsupported_scripts"]

# A learned script costs 0.2 to 0.6 tokens a letter where letters are single sounds, and 0.6 to 1.1
# where they are syllables or words. The English vocabulary of CLIP spends 2.0 on Hangul, 2.6 on
# Han, 1.4 on Katakana; 1.3 on Cyrillic, 1.0 on Arabic, 2.0 on Greek.
MOST_TOKENS_PER_LETTER = 0.85
MOST_TOKENS_PER_SYLLABLE = 1.3
SYLLABLES = frozenset({"Ethiopic", "Han", "Hangul", "Hiragana", "Katakana"})
UNKNOWN_WORDS = 0.5  # share of words with an unknown character from which a script is not carried
# Single words cost a tokenizer more than its script does: few letters are measured together with these sentences.
SAMPLES = {"Hangul": "빨간 가방을 든 사람이 공원에서 고양이와 강아지 사진을 찍고 있습니다"}
FEW_LETTERS = 40
WORDS_MEASURED = 200  # of each script; enough to judge, and a long list of labels stays cheap

# First word of a letter's Unicode name → name of the script for people. Latin is left out:
# every tokenizer of these models carries it.
SCRIPTS = {
    "ARABIC": "Arabic",
    "ARMENIAN": "Armenian",
    "BENGALI": "Bengali",
    "CJK": "Han",
    "CYRILLIC": "Cyrillic",
    "DEVANAGARI": "Devanagari",
    "ETHIOPIC": "Ethiopic",
    "GEORGIAN": "Georgian",
    "GREEK": "Greek",
    "GUJARATI": "Gujarati",
    "GURMUKHI": "Gurmukhi",
    "HANGUL": "Hangul",
    "HEBREW": "Hebrew",
    "HIRAGANA": "Hiragana",
    "KANNADA": "Kannada",
    "KATAKANA": "Katakana",
    "KHMER": "Khmer",
    "LAO": "Lao",
    "MALAYALAM": "Malayalam",
    "MONGOLIAN": "Mongolian",
    "MYANMAR": "Myanmar",
    "ORIYA": "Odia",
    "SINHALA": "Sinhala",
    "TAMIL": "Tamil",
    "TELUGU": "Telugu",
    "THAI": "Thai",
    "TIBETAN": "Tibetan",
}
_WORD = re.compile(r"\S+")


class UnsupportedScriptWarning(UserWarning):
    """Texts are in a script that the tokenizer cannot carry; what comes out is close to noise."""


@dataclass(frozen=True)
class UnsupportedScript:
    """A script that a tokenizer cannot carry.

    `example` is a word of it from the texts, `tokens_per_letter` the mean over them (a word that
    is one token counts as free), `unknown` the share of words that hold a character which the tokenizer does not have,
    `places` the texts that have letters of it, by number.
    """

    script: str
    example: str
    tokens_per_letter: float
    unknown: float
    places: tuple[int, ...]

    @property
    def reason(self) -> str:
        """Why the tokenizer ("it") cannot carry the script."""
        if self.unknown > UNKNOWN_WORDS:
            return "it does not know these characters"
        return f"it spends {self.tokens_per_letter:.1f} tokens on a letter, as on a script that it never learned"

    @property
    def way_out(self) -> str:
        """Models that carry the script, in words."""
        multilingual = "a multilingual SigLIP 2"
        return f"anmok-mini (Korean and English) or {multilingual}" if self.script == "Hangul" else multilingual


def unsupported_scripts(tokenizer: Tokenizer, texts: Iterable[str]) -> list[UnsupportedScript]:
    """The scripts in `texts` that `tokenizer` cannot carry, most letters first; empty where all is well."""
    found: dict[str, list[str]] = defaultdict(list)
    places: dict[str, dict[int, None]] = defaultdict(dict)  # each once, in order
    for place, text in enumerate(texts):
        if text.isascii():
            continue
        for script, run in _runs(unicodedata.normalize("NFC", text)):
            places[script][place] = None
            if len(found[script]) < WORDS_MEASURED:
                found[script].append(run)
    measured = [_measure(tokenizer, script, runs, tuple(places[script])) for script, runs in found.items()]
    measured.sort(key=lambda one: -sum(map(len, found[one.script])))
    return [one for one in measured if not _carried(one)]


def warn_unsupported_scripts(tokenizer: Tokenizer, texts: Iterable[str]) -> None:
    """Warn (`UnsupportedScriptWarning`), once for each script in the life of `tokenizer`."""
    for one in unsupported_scripts(tokenizer, texts):
        if one.script in tokenizer.warned_scripts:
            continue
        tokenizer.warned_scripts.add(one.script)
        warnings.warn(
            f"The tokenizer of this model cannot carry {one.script} text such as {one.example!r}: {one.reason}. "
            f"Results for such texts are close to noise. Use a model that knows the language, such as {one.way_out}, "
            "or write the texts in English.",
            UnsupportedScriptWarning,
            stacklevel=3,
        )


def _runs(text: str) -> list[tuple[str, str]]:
    """(script, letters) of every stretch of letters of one script, within words."""
    runs: list[tuple[str, str]] = []
    for word in _WORD.findall(text):
        last = ""
        for character in word:
            script = _script(character)
            if script and script == last:
                runs[-1] = (script, runs[-1][1] + character)
            elif script:
                runs.append((script, character))
            last = script
    return runs


def _script(character: str) -> str:
    """The script of a letter (or of a mark that belongs to one), or nothing."""
    if character < "\u0370" or unicodedata.category(character)[0] not in "LM":
        return ""
    return SCRIPTS.get(unicodedata.name(character, "").partition(" ")[0], "")


def _measure(tokenizer: Tokenizer, script: str, runs: list[str], places: tuple[int, ...]) -> UnsupportedScript:
    example = max(runs, key=len)
    if script in SAMPLES and sum(map(len, runs)) < FEW_LETTERS:
        runs = runs + [run for _, run in _runs(SAMPLES[script])]
    # A piece of its own for the start of a word says nothing about the script.
    pieces = [[piece for piece in tokenizer.pieces(run) if piece != "▁"] for run in runs]
    unknown = sum(tokenizer.unknown_piece in word for word in pieces) / len(runs)
    # One token for a word is as good as it gets, also where the word is a single letter.
    tokens = sum(len(word) for word in pieces if len(word) > 1)
    return UnsupportedScript(script, example, tokens / sum(map(len, runs)), unknown, places)


def _carried(one: UnsupportedScript) -> bool:
    most = MOST_TOKENS_PER_SYLLABLE if one.script in SYLLABLES else MOST_TOKENS_PER_LETTER
    return one.unknown <= UNKNOWN_WORDS and one.tokens_per_letter <= most
