"""What happens to a text before the tokenizer sees it, one function for each reference.

The references disagree, and a wrong choice is silent: the ids are valid, the model is only
worse. So the choice is data, a name that travels with the tokenizer:

    none          nothing: transformers' CLIP and SigLIP 2, whose tokenizer does it all itself
    whitespace    open_clip's default for tokenizers from Hugging Face
    lower         open_clip's and OpenAI's CLIP: also lower-cased
    canonicalize  open_clip's SigLIP: also ASCII punctuation removed
    siglip        transformers' SigLIP: lower-cased, ASCII punctuation removed, nothing repaired

open_clip's three repair mojibake and unescape HTML first (with ftfy), so `&quot;` and
`â€œ` are one quote there and stay as they are in the others.
"""

from __future__ import annotations

import html
import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLEANERS"]

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SPACES = re.compile(r"\s+")
_SOUND = re.compile(r"[ -%'-~가-힣]*")  # ftfy leaves these as they are: printable ASCII but &, Korean syllables


def _repair(text: str) -> str:
    """Source: `basic_clean` in open_clip/tokenizer.py, from OpenAI's CLIP."""
    if not _SOUND.fullmatch(text):  # ftfy takes 0.04 s to import
        text = _fix(text)
    return html.unescape(html.unescape(text)).strip()


def _fix(text: str) -> str:
    import ftfy

    return ftfy.fix_text(text)


def _whitespace(text: str) -> str:
    return " ".join(_repair(text).split())


def _lower(text: str) -> str:
    return _whitespace(text).lower()


def _canonicalize(text: str) -> str:
    """Source: `canonicalize_text` in open_clip/tokenizer.py, from big_vision's prompt_engineering.py."""
    text = _repair(text).replace("_", " ").translate(_WITHOUT_PUNCTUATION)
    return " ".join(text.lower().split())


def _siglip(text: str) -> str:
    """Source: `SiglipTokenizer.canonicalize_text` in transformers."""
    return _SPACES.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).strip()


CLEANERS: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "whitespace": _whitespace,
    "lower": _lower,
    "canonicalize": _canonicalize,
    "siglip": _siglip,
}
