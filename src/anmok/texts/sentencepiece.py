"""Reads a SentencePiece model file (`spiece.model`, `tokenizer.model`) and normalizes text as it asks.

The file is a protobuf message; the few fields that matter are read here, so that neither
sentencepiece nor protobuf is needed. The normalizer follows SentencePiece itself, byte by
byte, because the one in `tokenizers` works on grapheme clusters and leaves some sequences
as they are (Hangul typed as separate jamo, as file names on a Mac are, is one).

Sources: sentencepiece 0.2, src/sentencepiece_model.proto and src/normalizer.cc; the trie is
a Darts-clone double array (github.com/s-yata/darts-clone).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anmok.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Normalizer", "Piece", "SentencePieceModel"]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5  # types of a piece
UNIGRAM, BPE = 1, 2  # types of a model
SPACE = "▁"


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its id is its place. A higher `score` is more likely."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class Normalizer:
    """Text as the pieces spell it: characters replaced as the model says, spaces as `▁`."""

    charsmap: bytes  # replacement rules: a trie over UTF-8, then the replacements, each ended by a zero byte
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool

    def __call__(self, text: str) -> str:
        """Source: `Normalizer::Normalize`."""
        parts: list[str] = []
        after_space = self.remove_extra_whitespaces
        for part in self._replaced(text):
            kept = part.lstrip(" ") if after_space else part
            if kept:
                parts.append(kept)
                after_space = kept.endswith(" ") and self.remove_extra_whitespaces
        if not parts:
            return ""
        space = SPACE if self.escape_whitespaces else " "
        line = "".join(parts)
        if self.escape_whitespaces:
            line = line.replace(" ", SPACE)
        if self.add_dummy_prefix:
            line = space + line
        return line.rstrip(space) if self.remove_extra_whitespaces else line

    def _replaced(self, text: str) -> Iterator[str]:
        """The text in steps: at each place the longest rule that matches, else one character."""
        if not self.charsmap:
            yield from text
            return
        (size,) = struct.unpack_from("<I", self.charsmap)
        units = memoryview(self.charsmap)[4 : 4 + size].cast("I")
        data = text.encode()
        at = 0
        while at < len(data):
            length, value = _longest_prefix(units, data, at)
            if length:
                start = 4 + size + value
                yield self.charsmap[start : self.charsmap.index(b"\0", start)].decode()
            else:
                length = _character_length(data[at])
                yield data[at : at + length].decode()
            at += length


def _longest_prefix(units: memoryview, data: bytes, at: int) -> tuple[int, int]:
    """Length and value of the longest key in the double array that `data` has at `at`; length 0: none."""
    length = value = 0
    node = _offset(units[0])
    for i in range(at, len(data)):
        byte = data[i]
        node ^= byte
        unit = units[node]
        if unit & 0x800000FF != byte:
            break
        node ^= _offset(unit)
        if unit >> 8 & 1:  # a key ends here
            length, value = i + 1 - at, units[node] & 0x7FFFFFFF
    return length, value


def _offset(unit: int) -> int:
    offset: int = (unit >> 10) << ((unit & 0x200) >> 6)
    return offset


def _character_length(first_byte: int) -> int:
    return 1 if first_byte < 0x80 else 2 if first_byte < 0xE0 else 3 if first_byte < 0xF0 else 4


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says. `blob` is the file itself, to save it again unchanged."""

    pieces: tuple[Piece, ...]
    type: int
    byte_fallback: bool
    unknown: int  # id
    normalizer: Normalizer
    blob: bytes

    @classmethod
    def read(cls, path: Path) -> SentencePieceModel:
        """Read a model file.

        Raises:
            CheckpointError: it is not a SentencePiece model, or one of a kind that CLIP and SigLIP do not use.
        """
        blob = path.read_bytes()
        try:
            model = cls._parse(blob)
            model.normalizer("probe")
        except (IndexError, TypeError, ValueError, struct.error) as error:
            raise CheckpointError(
                f"{path} is not a whole SentencePiece model ({error or type(error).__name__}): download it again"
            ) from error
        if not model.pieces or model.type not in (UNIGRAM, BPE):
            raise CheckpointError(f"{path} is not a SentencePiece model of type unigram or BPE")
        return model

    @classmethod
    def _parse(cls, blob: bytes) -> SentencePieceModel:
        pieces: list[Piece] = []
        trainer: dict[int, int | bytes] = {}
        rules: dict[int, int | bytes] = {}
        for field, value in _fields(blob):
            if field == 1:
                pieces.append(_piece(_message(value)))
            elif field == 2:
                trainer = dict(_fields(_message(value)))
            elif field == 3:
                rules = dict(_fields(_message(value)))
        return cls(
            pieces=tuple(pieces),
            type=int(trainer.get(3, UNIGRAM)),
            byte_fallback=bool(trainer.get(35, 0)),
            unknown=int(trainer.get(40, 0)),
            normalizer=Normalizer(
                charsmap=_message(rules.get(2, b"")),
                add_dummy_prefix=bool(rules.get(3, 1)),
                remove_extra_whitespaces=bool(rules.get(4, 1)),
                escape_whitespaces=bool(rules.get(5, 1)),
            ),
            blob=blob,
        )


def _piece(message: bytes) -> Piece:
    fields = dict(_fields(message))
    (score,) = struct.unpack("<f", _message(fields.get(2, b"\0\0\0\0")))
    return Piece(text=_message(fields.get(1, b"")).decode(), score=score, type=int(fields.get(3, NORMAL)))


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a field has the wrong type")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: whole numbers as int, everything else as its bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"unknown wire type {wire}")
        if at + size > len(message):
            raise ValueError("it ends in the middle of a field")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
