"""Gather the pairs of anmok-mini: found and drawn pictures, source by source, and what each text means in English.

Written into the work folder:
    pairs/SOURCE/*.tar   training pairs
    held/SOURCE/*.tar    pairs of the same sources that are never trained on: what the recipe is tuned by
    meanings.json        text → the English text whose sentence vector it should have ("토끼 사진" → "rabbit")

The evaluation shards are opened for one purpose: no name of a held-out emoji, and no picture that looks like a held-out
one (64-bit difference hash, at most 4 bits apart), may come in through the icons.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from icons import draw_icons
from PIL import Image

from anmok import progress
from anmok.pairs import Pair, open_pairs, write_shards
from anmok.pictures import read
from anmok.train import synthetic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CLASSES = ("grocery", "clothing", "trashnet", "fashion_mnist")
STORIES = ("openstax", "storybook")  # captions of one picture each
HELD_BOOKS = ("psychology", "principles-marketing")
ENGLISH_FRAMES = (
    "a photo of {}", "a photo of {}.", "a photo of a {}.", "a photo of the {}.", "a picture of {}", "an image of {}",
    "this is {}", "a close-up photo of {}", "{}.", "a blurry photo of {}",
)  # fmt: skip
KOREAN_FRAMES = ("{} 사진", "{}의 사진", "{} 이미지", "{}을(를) 찍은 사진", "이것은 {}", "{}.")
DRAWN_FRAMES = ("an icon of {}", "a drawing of {}", "{} symbol")


@dataclass
class Texts:
    """The texts of one picture, and what each means."""

    english: list[str] = field(default_factory=list)
    korean: list[str] = field(default_factory=list)
    meanings: dict[str, str] = field(default_factory=dict)

    def add(self, language: list[str], text: str, meaning: str = "") -> None:
        text = " ".join(text.split())
        if text and text not in language:
            language.append(text)
            if meaning:
                self.meanings.setdefault(text, meaning)


def gather(data: Path, iconify: Path, annotations: Path, work: Path, *, font: Path | None, seed: int) -> None:
    """Write everything; does nothing where it is there already.

    Args:
        data: folder with `train/*.tar` and `eval/*.tar`.
        iconify: the unpacked npm package `@iconify/json`.
        annotations: the unpacked npm package `cldr-annotations-full`: names and keywords of emoji in both languages.
        work: where to write.
        font: one with Hangul, for drawn Korean words.
        seed: of what is drawn and drawn by lot.
    """
    if (work / "meanings.json").exists():
        return
    emoji = Emoji(annotations)
    names, hashes = held_out_of_evaluation(data / "eval")
    meanings: dict[str, str] = {}
    found: dict[tuple[bool, str], list[Pair]] = {}

    def keep(pair: Pair, texts: Texts, *, held: bool) -> None:
        for text, meaning in texts.meanings.items():
            meanings.setdefault(text, meaning)
        found.setdefault((held, pair.source), []).append(pair)

    held_emoji: set[str] = set()
    source = open_pairs(data / "train")
    with progress.task("gathering pairs", len(source)) as advance:
        for pair in source:
            advance(1)
            if isinstance(pair, Pair):
                known, texts = described(pair, emoji, seed)
                held = is_held(known)
                if held and known.source == "emoji":
                    held_emoji.add(known.labels[0])
                    if pair.source != "emoji_noto":  # measured in one style, as in the evaluation
                        continue
                keep(known, texts, held=held)
                if pair.source == "grocery":
                    keep(*as_its_kind(pair, seed), held=held)
    for pair, texts in drawn(seed, font):
        keep(pair, texts, held=_number(pair.name) % 33 == 0)
    with progress.task("drawing icons", None) as advance:
        for pair, texts in icon_pairs(iconify, emoji, without=names | held_emoji, unlike=hashes):
            advance(1)
            keep(pair, texts, held=False)
    for (held, name), pairs in found.items():
        write_shards(pairs, work / ("held" if held else "pairs") / name, prefix=name)
    (work / "meanings.json").write_text(json.dumps(meanings, ensure_ascii=False), encoding="utf-8")


def is_held(pair: Pair) -> bool:
    """Whole emoji, books and stories, so that it is as hard as the evaluation; else single pictures."""
    if pair.source == "emoji":
        return _number(pair.labels[0]) % 10 == 0
    if pair.source == "openstax":
        return pair.facts["book"] in HELD_BOOKS
    if pair.source == "storybook":
        return _number(pair.facts["book"]) % 16 == 0
    return pair.source in CLASSES and _number(pair.name) % 25 == 0


def held_out_of_evaluation(folder: Path) -> tuple[set[str], np.ndarray]:
    """Names of the held-out emoji, and the hash of every held-out picture."""
    names, hashes = set(), []
    for pair in open_pairs(folder):
        if isinstance(pair, Pair):
            hashes.append(difference_hash(read(pair.picture)))
            if pair.source.startswith("emoji"):
                names.add(pair.labels[0].lower())
    return names, np.array(hashes, np.uint64)


def difference_hash(picture: Image.Image) -> int:
    """64 bits, the hash (and 4 bits the bound) by which the evaluation pictures were kept apart in the first place."""
    gray = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS), np.int16)
    return int.from_bytes(np.packbits(gray[:, 1:] > gray[:, :-1]).tobytes(), "big")


# --- found pictures --------------------------------------------------------------------------


def described(pair: Pair, emoji: Emoji, seed: int) -> tuple[Pair, Texts]:
    """The pair with more texts, named by its source."""
    source = "emoji" if pair.source.startswith("emoji") else pair.source
    english, korean = (list(pair.captions.get(language, ())) for language in ("en", "ko"))
    if source == "grocery" and len(pair.labels) > 1:  # its kind is a pair of its own, see `as_its_kind`
        del english[2], korean[2]
    random = np.random.default_rng((seed, _number(pair.name)))
    texts = Texts()
    label = pair.name
    if source in STORIES:
        told(texts, english, korean, random)
    elif source == "emoji":
        label = pair.labels[0].lower()
        pictured(texts, english, korean, emoji, random)
    else:
        label = english[0] if source == "recipes" else "/".join(pair.labels)
        named(texts, english, korean, pair.labels if source in CLASSES else (), random)
    captions = {"en": tuple(texts.english), "ko": tuple(texts.korean)}
    every = tuple(texts.english + texts.korean)
    labels = pair.labels if source in CLASSES else (label,)
    return Pair(f"{source}-{pair.name}", pair.picture, every, labels, source, captions, dict(pair.facts)), texts


def as_its_kind(pair: Pair, seed: int) -> tuple[Pair, Texts]:
    """The same groceries named by their kind alone ("pear", not "Conference pears"), with it as their class.

    Else all pears of another variety would be wrong answers to "pear".
    """
    english, korean = (pair.captions[language][2:3] or pair.captions[language][:1] for language in ("en", "ko"))
    texts = Texts()
    named(texts, list(english), list(korean), (), np.random.default_rng((seed, 1, _number(pair.name))))
    captions = {"en": tuple(texts.english), "ko": tuple(texts.korean)}
    every = tuple(texts.english + texts.korean)
    return Pair(f"kind-{pair.name}", pair.picture, every, pair.labels[-1:], "kinds", captions, dict(pair.facts)), texts


def named(
    texts: Texts, english: list[str], korean: list[str], labels: tuple[str, ...], random: np.random.Generator
) -> None:
    """Pictures of a class: its names, plain and in frames; every frame means the name."""
    name = english[0]
    plain = name.removeprefix("a pair of ").removeprefix("a ").removeprefix("an ")
    label = labels[0].replace("-", " ").replace("_", " ").lower() if labels else ""
    for text in (name, plain, *([label] if label and label != plain else [])):
        texts.add(texts.english, text, name)
    for frame in random.permutation(ENGLISH_FRAMES)[:5]:
        texts.add(texts.english, frame.format(plain if " a {}" in frame or " the {}" in frame else name), name)
    for text in english[1:]:
        texts.add(texts.english, text, name if plain in text else text)
    framed(texts, korean, name, random)


def framed(texts: Texts, korean: list[str], meaning: str, random: np.random.Generator) -> None:
    if not korean:
        return
    texts.add(texts.korean, korean[0], meaning)
    for frame in random.permutation(KOREAN_FRAMES)[:4]:
        texts.add(texts.korean, frame.format(korean[0]), meaning)
    for text in korean[1:]:
        texts.add(texts.korean, text, meaning if korean[0] in text else "")


def pictured(texts: Texts, english: list[str], korean: list[str], emoji: Emoji, random: np.random.Generator) -> None:
    """Emoji: names in frames, and keywords, which say what else it shows."""
    name = english[0]
    texts.add(texts.english, name, name)
    frames = ("an emoji of {}", "a photo of {}", "a picture of {}", "{}.", "a photo of a {}.", *DRAWN_FRAMES)
    for frame in random.permutation(frames)[:3]:
        texts.add(texts.english, frame.format(name), name)
    framed(texts, [text for text in korean if "," not in text], name, random)
    words = emoji.keywords(name)
    for language, known in ((texts.english, words[0]), (texts.korean, words[1])):
        for _ in range(2 if len(known) > 2 else 0):
            some = random.permutation(known)[: random.integers(2, 4)]
            meaning = ", ".join(some) if language is texts.english else name
            texts.add(language, ", ".join(some), meaning)


def told(texts: Texts, english: list[str], korean: list[str], random: np.random.Generator) -> None:
    """Captions of one picture; copies that lack some words keep a text tower from learning captions by heart."""
    for text in english:
        texts.add(texts.english, text, text)
    for text in english[:2]:
        texts.add(texts.english, thinned(text, random), text)
    for text in korean:
        texts.add(texts.korean, text, english[0])
    for text in korean[:1]:
        texts.add(texts.korean, thinned(text, random), english[0])


def thinned(text: str, random: np.random.Generator) -> str:
    words = text.split()
    return " ".join(word for word in words if random.random() > 0.3) if len(words) > 4 else ""


class Emoji:
    """Names and keywords of emoji in English and Korean: Unicode CLDR."""

    def __init__(self, folder: Path) -> None:
        english, korean = (
            json.loads((folder / "annotations" / language / "annotations.json").read_text(encoding="utf-8"))[
                "annotations"
            ]["annotations"]
            for language in ("en", "ko")
        )
        self._known = {
            facts["tts"][0].lower(): (facts, korean[sign])
            for sign, facts in english.items()
            if "tts" in facts and "tts" in korean.get(sign, {})
        }

    def keywords(self, name: str) -> tuple[list[str], list[str]]:
        if name.lower() not in self._known:
            return [], []
        english, korean = self._known[name.lower()]
        return list(english.get("default", ())), list(korean.get("default", ()))

    def korean(self, name: str) -> str:
        return self._known[name.lower()][1]["tts"][0] if name.lower() in self._known else ""


# --- drawn pictures --------------------------------------------------------------------------


def icon_pairs(
    folder: Path, emoji: Emoji, *, without: Iterable[str], unlike: np.ndarray
) -> Iterator[tuple[Pair, Texts]]:
    for number, icon in enumerate(draw_icons(folder, without=set(without))):
        mine = np.uint64(difference_hash(icon.picture))
        if np.bitwise_count(unlike ^ mine).min() <= 4:
            continue
        random = np.random.default_rng(number)
        texts = Texts()
        korean = emoji.korean(icon.name)
        if icon.is_emoji:
            pictured(texts, [icon.name], [korean] if korean else [], emoji, random)
        else:
            texts.add(texts.english, icon.name, icon.name)
            for frame in random.permutation(("a photo of {}", "{}.", "a picture of {}", *DRAWN_FRAMES))[:2]:
                texts.add(texts.english, frame.format(icon.name), icon.name)
        source = "emoji" if icon.is_emoji else "icons"
        yield _pair(f"{icon.set}-{number}", icon.picture, texts, icon.name, source), texts


def drawn(seed: int, font: Path | None) -> Iterator[tuple[Pair, Texts]]:
    """Digits and scenes of shapes, with exact captions."""
    with progress.task("drawing digits and shapes", 14_000) as advance:
        for i in range(8000):
            drawing = synthetic.draw_digit(np.random.default_rng((seed, 0, i)), i % 10, font if i % 2 else None)
            yield _drawing("digits", i, drawing, label=f"digit {i % 10}", alike=True)
            advance(1)
        for i in range(6000):
            drawing = synthetic.draw_scene(np.random.default_rng((seed, 1, i)))
            yield _drawing("scenes", i, drawing, label=drawing.subject, alike=False)
            advance(1)


def _drawing(source: str, number: int, drawing: synthetic.Drawn, *, label: str, alike: bool) -> tuple[Pair, Texts]:
    """`alike`: all captions mean the same."""
    texts = Texts()
    for i, text in enumerate(drawing.english):
        texts.add(texts.english, text, drawing.english[0] if alike else text)
        if alike and i < 2:
            texts.add(texts.english, f"a photo of {text}.", drawing.english[0])
    for i, text in enumerate(drawing.korean):
        texts.add(texts.korean, text, drawing.english[0] if alike or i == 0 else "")
    return _pair(f"{source}-{number}", drawing.picture, texts, label, source), texts


def _pair(name: str, picture: Image.Image, texts: Texts, label: str, source: str) -> Pair:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80)
    captions = {"en": tuple(texts.english), "ko": tuple(texts.korean)}
    return Pair(name, buffer.getvalue(), tuple(texts.english + texts.korean), (label,), source, captions)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=6).digest(), "big")
