"""Training pairs: pictures packed once into one array, and captions drawn anew at every step.

Pictures are decoded and squashed to `SIDE` pixels square when packed, so that the training loop
never decodes. Captions that are equal, or belong to one class, are true of each other's
pictures: `Pairs.truth` says which text of a batch is true of which picture (Yang et al. 2022,
"Unified Contrastive Learning in Image-Text-Label Space", arXiv 2204.03610).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from anmok.train import synthetic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

__all__ = ["Pair", "Pairs", "drawn_pairs", "pack", "read_pairs"]

SIDE = synthetic.SIDE
NAMED = ("grocery", "clothing", "trashnet", "fashion_mnist", "emoji", "flags", "recipes")
PROSE = ("openstax", "storybook")  # captions of one picture each, which a text tower learns by heart if it can
ENGLISH_FRAMES = (
    "a photo of {}", "a photo of {}.", "a photo of a {}.", "a photo of the {}.", "a picture of {}",
    "a picture of a {}.", "an image of {}", "this is {}", "a close-up photo of {}", "{}.", "a small picture of {}",
    "a blurry photo of {}",
)  # fmt: skip
KOREAN_FRAMES = ("{} 사진", "{}의 사진", "{} 이미지", "{}을(를) 찍은 사진", "이것은 {}", "{}.")


@dataclass(frozen=True)
class Pair:
    """What is known of one picture; all captions are true of it."""

    source: str
    group: str  # pictures of one group share their captions: a class, an emoji in several styles
    english: tuple[str, ...]
    korean: tuple[str, ...]
    named: bool  # whether the first captions are names, which fit into a frame such as "a photo of {}"
    held_out: bool = False


def read_pairs(folder: Path) -> Iterator[tuple[Pair, Image.Image]]:
    """Pairs of WebDataset shards (`KEY.webp` before `KEY.json`), in the order of the shards."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as shard:
            data = b""
            for member in shard:
                file = shard.extractfile(member)
                if file is None:
                    continue
                if not member.name.endswith(".json"):
                    data = file.read()
                    continue
                key = member.name.removesuffix(".json")
                yield _pair(key, json.load(file)), Image.open(io.BytesIO(data)).convert("RGB")


def _pair(key: str, facts: dict[str, Any]) -> Pair:
    source = "emoji" if facts["source"].startswith("emoji") else str(facts["source"])
    english, korean = list(facts["captions_en"]), list(facts["captions_ko"])
    named = source in NAMED
    group = f"{source} {'/'.join(facts['labels'])}" if named and source != "recipes" else key
    if named and source not in ("emoji", "flags", "recipes"):
        plain = english[0].removeprefix("a pair of ").removeprefix("a ").removeprefix("an ")
        labels = [label.replace("-", " ").replace("_", " ").lower() for label in facts["labels"]]
        english += [name for name in dict.fromkeys([plain, *labels]) if name not in english]
    held_out = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 33 == 0
    return Pair(source, group, tuple(english), tuple(korean), named, held_out)


def drawn_pairs(
    seed: int, *, digits: int, scenes: int, words: Sequence[tuple[str, str]], copies: int, font: Path | None
) -> Iterator[tuple[Pair, Image.Image]]:
    """Drawn pictures; `words` are (English, Korean), Korean ones are drawn only where there is a font for them."""
    for i in range(digits):
        yield _drawn(
            "digits", synthetic.draw_digit(np.random.default_rng((seed, 0, i)), i % 10, font if i % 2 else None), i
        )
    for i in range(scenes):
        yield _drawn("scenes", synthetic.draw_scene(np.random.default_rng((seed, 1, i))), i)
    for i in range(len(words) * copies):
        rng = np.random.default_rng((seed, 2, i))
        english, korean = words[i % len(words)]
        yield _drawn("words", synthetic.draw_word(rng, english, korean=False, font=font if i % 2 else None), i)
        if font:
            yield _drawn("words", synthetic.draw_word(rng, korean, korean=True, font=font), i)


def _drawn(source: str, drawn: synthetic.Drawn, index: int) -> tuple[Pair, Image.Image]:
    group = f"{source} {drawn.subject}" if source != "scenes" else f"scene {index}"
    return Pair(source, group, drawn.english, drawn.korean, source == "digits", index % 33 == 0), drawn.picture


def pack(pairs: Iterator[tuple[Pair, Image.Image]], folder: Path) -> None:
    """Write `pictures.u8` (uint8 [n, SIDE, SIDE, 3]) and `pairs.json` into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    known: list[dict[str, Any]] = []
    with (folder / "pictures.u8").open("wb") as file:
        for pair, picture in pairs:
            square = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            file.write(np.asarray(square, np.uint8).tobytes())
            known.append(asdict(pair))
    (folder / "pairs.json").write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")


class Pairs:
    """Packed pairs: draws batches by source, texts for them, and which text is true of which picture."""

    def __init__(self, folder: Path, weights: dict[str, float]) -> None:
        known = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
        self.pairs = [
            Pair(**{**row, "english": tuple(row["english"]), "korean": tuple(row["korean"])}) for row in known
        ]
        self.pictures = np.memmap(folder / "pictures.u8", np.uint8, "r", shape=(len(self.pairs), SIDE, SIDE, 3))
        self.weights = {source: weight / sum(weights.values()) for source, weight in weights.items()}
        self._groups: dict[str, set[str]] = defaultdict(set)  # text → groups of pictures it is true of
        self._members: dict[tuple[str, bool], list[int]] = defaultdict(list)
        self._classes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, pair in enumerate(self.pairs):
            self._members[pair.source, pair.held_out].append(index)
            if not pair.held_out:
                self._classes[pair.source][pair.group].append(index)
            for text in (*pair.english, *pair.korean):
                for part in (text, *(text.split(", ") if pair.source == "emoji" else ())):
                    self._groups[part.lower()].add(pair.group)

    def texts(self) -> list[str]:
        """Every different caption, and the frames: what a tokenizer is trained on."""
        every = dict.fromkeys(text for pair in self.pairs for text in (*pair.english, *pair.korean))
        return [*every, *ENGLISH_FRAMES, *KOREAN_FRAMES]

    def held_out(self, source: str) -> list[int]:
        """Pictures of a source that are never drawn."""
        return self._members[source, True]

    def draw(self, rng: np.random.Generator, count: int, even: float = 0.5) -> np.ndarray:
        """Indices of `count` pictures: a source by its weight, then (a share `even` of the time) a class of it."""
        sources = list(self.weights)
        chosen = rng.choice(len(sources), size=count, p=list(self.weights.values()))
        indices = np.empty(count, np.int64)
        for i, source in enumerate(sources[k] for k in chosen):
            rows = self._members[source, False]
            if rng.random() < even:
                classes = self._classes[source]
                rows = list(classes.values())[rng.integers(len(classes))] if len(classes) < 200 else rows
            indices[i] = rows[rng.integers(len(rows))]
        return indices

    def caption(self, rng: np.random.Generator, index: int) -> tuple[str, str]:
        """A text for a picture, and the caption that it was made from."""
        pair = self.pairs[index]
        in_korean = bool(pair.korean) and rng.random() < 0.45
        texts, frames = (pair.korean, KOREAN_FRAMES) if in_korean else (pair.english, ENGLISH_FRAMES)
        base = texts[rng.integers(len(texts))]
        if pair.source in PROSE:
            base = texts[0] if rng.random() < 0.4 else base  # the most literal one
            return _thinned(rng, base), base
        if not pair.named:
            return base, base
        if rng.random() < 0.35:  # the name itself, the first caption, is what users type
            base = texts[0]
            if rng.random() < 0.7:
                return frames[rng.integers(len(frames))].format(base), base
        words = base.split(", ")
        if pair.source == "emoji" and len(words) > 1 and rng.random() < 0.6:  # keywords: one of them, or in any order
            word = str(rng.choice(words))
            return (word, word) if rng.random() < 0.6 else (", ".join(rng.permutation(words)), base)
        return (_thinned(rng, base) if pair.source == "emoji" and base.count(" ") > 1 else base), base

    def truth(self, indices: Sequence[int] | np.ndarray, bases: Sequence[Collection[str]]) -> np.ndarray:
        """bool [pictures, texts]: whether one of the captions that a text was made from is true of a picture."""
        groups = [self.pairs[index].group for index in indices]
        table = np.empty((len(groups), len(bases)), bool)
        for j, captions in enumerate(bases):
            true_of: set[str] = set().union(*(self._groups[caption.lower()] for caption in captions))
            table[:, j] = [group in true_of for group in groups]
        return table


def _thinned(rng: np.random.Generator, text: str) -> str:
    """Half of the time with some words left out, so that no single word or order carries a picture."""
    words = text.split()
    if rng.random() < 0.5 or len(words) < 3:
        return text
    return " ".join(word for word in words if rng.random() > 0.3) or text
