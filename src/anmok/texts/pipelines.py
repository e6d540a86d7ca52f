"""The inside of a tokenizer: texts in, ids out, and one builder for each public family.

`Pipeline` wraps a tokenizer of the `tokenizers` library; `SiglipPipeline` does what
transformers' SigLIP tokenizer does around a SentencePiece model. Both clean the text first
(`clean.py`), add the special tokens, and cut at the context length with the special tokens
kept: a long text still ends in its end-of-text token.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from anmok.texts.clean import CLEANERS
from anmok.texts.sentencepiece import CONTROL, NORMAL, SPACE, UNIGRAM, UNKNOWN, UNUSED, USER_DEFINED, SentencePieceModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "OpenClipPipeline",
    "Pipeline",
    "SiglipPipeline",
    "clip_backend",
    "end_with",
    "gemma_backend",
    "lower_case",
    "open_clip_backend",
]

_WORDS = r"'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Pipeline:
    """A tokenizer of the `tokenizers` library, the length it cuts at, and the cleaning before it."""

    backend: tokenizers.Tokenizer
    length: int
    clean: str = "none"  # a name of CLEANERS

    def __post_init__(self) -> None:
        self.backend.no_padding()
        self.backend.enable_truncation(self.length)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with its special tokens, at most `length` of them."""
        clean = CLEANERS[self.clean]
        return [encoding.ids for encoding in self.backend.encode_batch_fast([clean(text) for text in texts])]

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text, without special tokens."""
        pieces: list[str] = self.backend.encode(CLEANERS[self.clean](text), add_special_tokens=False).tokens
        return pieces

    @property
    def vocabulary(self) -> dict[str, int]:
        """Piece → id."""
        vocabulary: dict[str, int] = self.backend.get_vocab(with_added_tokens=True)
        return vocabulary

    @cached_property
    def unknown_piece(self) -> str | None:
        """The piece that stands for characters which are not in the vocabulary."""
        model = self.backend.model
        if not isinstance(model, models.Unigram):
            return getattr(model, "unk_token", None)
        state = json.loads(self.backend.to_str())["model"]
        return None if state["unk_id"] is None else str(state["vocab"][state["unk_id"]][0])


@dataclass(frozen=True)
class OpenClipPipeline(Pipeline):
    """open_clip's SimpleTokenizer. It reads the names of its special tokens inside a text as those tokens."""

    clean: str = "lower"

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with its special tokens, at most `length` of them."""
        found = super().ids(texts)
        for i, text in enumerate(texts):
            if "_of_text>" in text.lower():
                found[i] = self._with_named_tokens(CLEANERS[self.clean](text))
        return found

    def _with_named_tokens(self, text: str) -> list[int]:
        start, end = self.backend.encode("").ids
        named = {"<start_of_text>": start, "<end_of_text>": end}
        ids: list[int] = []
        for _, (first, last) in self.backend.pre_tokenizer.pre_tokenize_str(text):
            word = text[first:last]
            ids += [named[word]] if word in named else self.backend.encode(word, add_special_tokens=False).ids
        return [start, *ids[: self.length - 2], end]


@dataclass(frozen=True)
class SiglipPipeline:
    """transformers' SigLIP tokenizer: a SentencePiece model between a cleaning and an end-of-text token.

    Its own cleaning ("siglip") is always there; `clean` is what a caller does before, as open_clip does.

    Every stretch of text between special tokens is encoded behind the name of the unknown
    token, whose pieces are then dropped. That is how the reference keeps SentencePiece from
    removing the space in front, and the extra `▁` that it makes of a leading space stays too.

    Source: transformers/models/siglip/tokenization_siglip.py.
    """

    model: SentencePieceModel
    length: int
    special: Mapping[str, int]  # name → id of the tokens that a text may spell out
    eos: int
    clean: str = "none"
    backend: tokenizers.Tokenizer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", tokenizers.Tokenizer(_sentencepiece(self.model)))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with its special tokens, at most `length` of them."""
        return [self._finish(self._encode(text)[: self.length - 1]) for text in texts]

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text, without special tokens."""
        return [self.model.pieces[i].text for i in self._encode(text)]

    @property
    def vocabulary(self) -> dict[str, int]:
        """Piece → id."""
        return {piece.text: i for i, piece in enumerate(self.model.pieces)}

    @property
    def unknown_piece(self) -> str:
        """The piece that stands for characters which are not in the vocabulary."""
        return self.model.pieces[self.model.unknown].text

    def _finish(self, ids: list[int]) -> list[int]:
        return ids if ids and ids[-1] == self.eos else [*ids, self.eos]

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        text = SPACE + CLEANERS[self.clean](text).replace(SPACE, " ")
        parts = self._split.split(text)  # text, token, text, token, …, text
        for i in range(0, len(parts), 2):
            part = parts[i].lstrip() if i > 0 else parts[i]
            part = part.rstrip() if i + 1 < len(parts) else part
            ids += self._sentence(self.unknown_piece + CLEANERS["siglip"](part))[self._prefix :] if part else []
            if i == 0 and len(parts) > 1 and [self.model.pieces[one].text for one in ids] == [SPACE]:
                ids = []
            ids += [self.special[name] for name in parts[i + 1 : i + 2]]
        return ids

    def _sentence(self, text: str) -> list[int]:
        """What SentencePiece itself gives for `text`."""
        ids: list[int] = self.backend.encode(self.model.normalizer(text), add_special_tokens=False).ids
        return ids

    @cached_property
    def _split(self) -> re.Pattern[str]:
        names = sorted(self.special, key=len, reverse=True)
        return re.compile("(" + "|".join(map(re.escape, names)) + ")")

    @cached_property
    def _prefix(self) -> int:
        return len(self._sentence(self.unknown_piece))


def clip_backend(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], *, start: str, end: str
) -> tokenizers.Tokenizer:
    """CLIP's byte-level BPE as transformers builds it from `vocab.json` and `merges.txt`.

    Source: transformers/models/clip/tokenization_clip.py.
    """
    backend = _byte_level(vocabulary, merges, start=start, end=end)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            _find(rf"<\|startoftext\|>|<\|endoftext\|>|'s|{_WORDS}"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),  # splits once more, as GPT-2 does
        ]
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.add_special_tokens([AddedToken(start, special=True), AddedToken(end, special=True)])
    return backend


def open_clip_backend(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], *, start: str, end: str
) -> tokenizers.Tokenizer:
    """CLIP's byte-level BPE as open_clip's SimpleTokenizer runs it, after its cleaning.

    The words are found without regard to case in lower-cased text, so `ſ` (long s) is an `s` there.

    Source: open_clip/tokenizer.py.
    """
    backend = _byte_level(vocabulary, merges, start=start, end=end)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            _find(rf"<[sſ]tart_of_text>|<end_of_text>|'[sſ]|{_WORDS}"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return backend


def gemma_backend(model: SentencePieceModel) -> tokenizers.Tokenizer:
    """Gemma's BPE with byte fallback, from its SentencePiece file.

    Source: `GemmaConverter` in transformers/convert_slow_tokenizer.py.
    """
    backend = tokenizers.Tokenizer(_sentencepiece(model))
    backend.normalizer = normalizers.Replace(" ", SPACE)
    backend.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    named = [piece for piece in model.pieces if piece.type in (CONTROL, USER_DEFINED)]
    backend.add_tokens([AddedToken(one.text, normalized=False, special=one.type == CONTROL) for one in named])
    return backend


def lower_case(backend: tokenizers.Tokenizer) -> None:
    """Make a tokenizer lower-case its text first, as SigLIP 2 was trained; twice does no harm.

    Source: transformers/models/siglip2/tokenization_siglip2.py.
    """
    if "Lowercase" not in repr(backend.normalizer):
        rest = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])


def end_with(backend: tokenizers.Tokenizer, end: str, *, start: str | None = None) -> None:
    """Make a tokenizer add an end-of-text token behind every text, and a start token before it if one is given."""
    names = [end] if start is None else [start, end]
    backend.post_processor = processors.TemplateProcessing(
        single=["$A", end] if start is None else [start, "$A", end],
        special_tokens=[(name, backend.token_to_id(name)) for name in names],
    )


def _byte_level(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], *, start: str, end: str
) -> tokenizers.Tokenizer:
    model = models.BPE(
        vocab=vocabulary,
        merges=merges,
        continuing_subword_prefix="",
        end_of_word_suffix="</w>",
        fuse_unk=False,
        unk_token=end,
    )
    backend = tokenizers.Tokenizer(model)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), trim_offsets=False, add_prefix_space=False
    )
    return backend


def _find(words: str) -> pre_tokenizers.PreTokenizer:
    """Keeps what matches and drops what stands between."""
    return pre_tokenizers.Split(Regex(words), behavior="removed", invert=True)


def _sentencepiece(model: SentencePieceModel) -> models.Model:
    """The model of a SentencePiece file for the `tokenizers` library."""
    if model.type == UNIGRAM:
        highest = max((piece.score for piece in model.pieces if piece.type == NORMAL), default=0.0)
        pieces = []
        for i, piece in enumerate(model.pieces):
            if piece.type in (CONTROL, UNKNOWN, UNUSED):  # never found in a text, whatever it spells
                pieces.append((f"\U0010ffff{i}", 0.0))
            elif piece.type == USER_DEFINED:
                pieces.append((piece.text, len(piece.text) * highest - 0.1))
            else:
                pieces.append((piece.text, piece.score))
        return models.Unigram(pieces, unk_id=model.unknown, byte_fallback=model.byte_fallback)
    return models.BPE(
        vocab={piece.text: i for i, piece in enumerate(model.pieces)},
        merges=_merges(model),
        unk_token=model.pieces[model.unknown].text,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


def _merges(model: SentencePieceModel) -> list[tuple[str, str]]:
    """The merges that the scores of the pieces stand for, most likely first.

    Source: `generate_merges` in transformers/convert_slow_tokenizer.py.
    """
    ids = {piece.text: i for i, piece in enumerate(model.pieces)}
    merges: list[tuple[float, str, str]] = []
    for piece in model.pieces:
        halves = [(piece.text[:cut], piece.text[cut:]) for cut in range(1, len(piece.text))]
        known = [pair for pair in halves if pair[0] in ids and pair[1] in ids]
        merges += [(piece.score, *pair) for pair in sorted(known, key=lambda pair: (ids[pair[0]], ids[pair[1]]))]
    merges.sort(key=lambda merge: (merge[0], len(merge[1]), len(merge[2])), reverse=True)
    return [(left, right) for _, left, right in merges]
