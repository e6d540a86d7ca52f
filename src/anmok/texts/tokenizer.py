"""Texts to token ids, exactly as the reference of each checkpoint does it.

>>> tokenizer = Tokenizer.clip()
>>> tokenizer(["a photo of a cat."])
array([[49406,   320,  1125,   539,   320,  2368,   269, 49407]])
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmok.errors import CheckpointError, TextError
from anmok.texts import folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.texts.folders import Kind, Loaded

__all__ = ["Tokenizer"]

_SURROGATE = re.compile("[\ud800-\udfff]")

# Texts that tell tokenizers apart: case, punctuation, spaces, entities, quotes, normalization
# forms, scripts, special names. `digest` holds a tokenizer to what it does with them.
_PROBES = (
    "",
    "a photo of a cat.",
    "A Photo,  of\tTHE  cat!!",
    " leading and trailing ",
    "don't we'll I'VE 1234567890 3.14",
    "fish &amp; chips &lt;b&gt; _under_score",
    "“curly” ‘quotes’ ﬁ ＡＢＣ sÃ³",
    "고양이 사진 한국어 문장입니다. 값없는 뷁",
    "\u1112\u1161\u11ab\u1100\u1173\u11af cafe\u0301 ΟΔΟΣ İstanbul ß",
    "漢字 ひらがな カタカナ Кошка قطة חתול แมว बिल्ली",
    "🐱👨‍👩‍👧 ☕️ \u200b\ufeff\x07",
    "</s> <unk> <pad> <eos> <|endoftext|> <end_of_text> ▁",
    "supercalifragilisticexpialidocious " * 20,
)


class Tokenizer:
    """Texts to token ids. Made by `clip` or `from_folder`.

    Attributes:
        context_length: the longest text, in tokens, special tokens included.
        pad_token: id that fills a row up; always on the right.
        eos_token: id that ends every text, also one that was cut.
        trims: whether a batch may be as short as its longest text (exact for a causal tower
            that pools at the end of text) or always has `context_length` columns (SigLIP,
            which pools at the last of them).
        warned_scripts: scripts that `warn_unsupported_scripts` has spoken of.
    """

    def __init__(self, loaded: Loaded, *, trims: bool) -> None:
        self._loaded = loaded
        self.context_length: int = loaded.pipeline.length
        self.pad_token: int = loaded.pad
        self.eos_token: int = loaded.eos
        self.trims = trims
        self.warned_scripts: set[str] = set()

    @classmethod
    def clip(cls, context_length: int = 77) -> Tokenizer:
        """OpenAI's CLIP tokenizer as OpenAI and open_clip run it: cleaned with ftfy, padded with 0.

        transformers' CLIP tokenizer has the same vocabulary and another cleaning; read its
        folder with `from_folder` to have that one.

        Source: open_clip/tokenizer.py, `SimpleTokenizer`.
        """
        if context_length < 3:
            raise CheckpointError(f"the context length is {context_length}; give 3 tokens or more")
        return cls(folders.open_clip(context_length), trims=True)

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        *,
        context_length: int | None = None,
        kind: Kind = "auto",
        clean: str | None = None,
        trims: bool | None = None,
    ) -> Tokenizer:
        """The tokenizer of a checkpoint's folder.

        Args:
            folder: with `tokenizer.json`, or `vocab.json` and `merges.txt`, or `spiece.model`,
                or `tokenizer.model`; and the settings files beside them, where there are any.
            context_length: the longest text in tokens; by default what the settings say.
            kind: "clip", "siglip" and "siglip2" are transformers' tokenizers of these models,
                "open_clip" is open_clip's SimpleTokenizer over the folder's CLIP vocabulary,
                "plain" takes `tokenizer.json` as it stands, "auto" goes by the files.
            clean: what is done to a text first (see `anmok.texts.clean`); open_clip's configs
                name it in `tokenizer_kwargs`, with "whitespace" where they do not.
            trims: see the class; by default yes for CLIP and no for the rest, which is always right.

        Raises:
            MissingFile: there is no tokenizer; names what was looked for.
            CheckpointError: a file is damaged, or texts would not end in an end-of-text token.
        """
        loaded = folders.load(Path(folder), context_length=context_length, kind=kind, clean=clean)
        return cls(loaded, trims=loaded.kind in ("clip", "open_clip") if trims is None else trims)

    def __call__(self, texts: Sequence[str], *, trim: bool = True) -> NDArray[np.int64]:
        """Token ids.

        Args:
            texts: n texts; a lone surrogate in one is read as U+FFFD.
            trim: False gives `context_length` columns even where fewer would do.

        Returns:
            int64 [n, l]: special tokens included, padded on the right; l is the longest of the
            batch where the tokenizer trims, else `context_length`.

        Raises:
            TextError: `texts` is not a list of strings.
        """
        rows = self._loaded.pipeline.ids([_checked(text, i) for i, text in enumerate(_listed(texts))])
        length = self.context_length
        if trim and self.trims:
            length = max(map(len, rows), default=0)
        ids = np.full((len(rows), length), self.pad_token, dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
        return ids

    def pieces(self, text: str) -> list[str]:
        """The pieces that a text falls into, without special tokens: for people and for measuring."""
        return self._loaded.pipeline.pieces(_checked(text, 0))

    def digest(self) -> str:
        """SHA-256 over the vocabulary, the settings and the ids of a set of telling texts.

        Equal for equal tokenizers, whatever files they came from and whichever version of
        `tokenizers` reads them.
        """
        return self._digest

    def save(self, folder: str | Path) -> None:
        """Write the files from which transformers' AutoTokenizer and `from_folder` make this tokenizer again.

        `tokenizer.json`, or `spiece.model` for SigLIP (which transformers reads there), with
        `tokenizer_config.json` and `special_tokens_map.json`.
        """
        folders.save(self._loaded, Path(folder))

    @property
    def canonicalize(self) -> bool:
        """Whether case and punctuation are removed from a text before it is encoded."""
        return self.kind == "siglip" or self.clean == "canonicalize"

    @property
    def clean(self) -> str:
        """The name of the cleaning (see `anmok.texts.clean`)."""
        return self._loaded.pipeline.clean

    @property
    def kind(self) -> str:
        """Which reference this follows: clip, open_clip, siglip, siglip2 or plain."""
        return self._loaded.kind

    @cached_property
    def vocabulary(self) -> int:
        """How many ids there are: one more than the highest."""
        return max(self._loaded.pipeline.vocabulary.values()) + 1

    @cached_property
    def unknown_piece(self) -> str | None:
        """The piece that stands for characters which are not in the vocabulary, if there is one."""
        return self._loaded.pipeline.unknown_piece

    @cached_property
    def _digest(self) -> str:
        hashed = hashlib.sha256(f"{self.context_length} {self.pad_token} {self.eos_token}".encode())
        for piece, i in sorted(self._loaded.pipeline.vocabulary.items(), key=lambda entry: (entry[1], entry[0])):
            hashed.update(f"{i}\t{piece}\n".encode())
        hashed.update(self(_PROBES, trim=False).astype("<i8").tobytes())
        return hashed.hexdigest()

    def __repr__(self) -> str:
        return f"Tokenizer({self.kind}, {self.vocabulary} ids, {self.context_length} tokens)"


def _listed(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise TextError(f"expected a list of texts, got the one text {texts[:40]!r}: put it in a list")
    return texts


def _checked(text: str, place: int) -> str:
    if not isinstance(text, str):
        raise TextError(f"text {place} is {type(text).__name__}, expected str")
    return _SURROGATE.sub("\ufffd", text)
