"""Claim: a cleaned data set trains a better model than the dirty one in the same number of steps.

What      The training pictures are made dirty: a fifth trade captions among themselves, a tenth get texts that say
          nothing ("IMG_2041.jpg"), a tenth are blurred beyond use or blank, and a quarter is there twice, recompressed.
          Trained on: the dirty pairs; what `anmok clean` leaves of them; what it leaves when it may also drop the fifth
          whose texts fit worst by the score of a model trained on the dirty pairs themselves (nothing better is
          assumed to be at hand); and the pairs as they were. The same steps, from five seeds.
Command   pip install matplotlib; python recipes/claims/cleaning.py --data DATA
Hardware  two processor cores; 24 minutes for 20 runs (AMD EPYC, Zen 4). It goes on where it was stopped.
Result    docs/claims/cleaning.md
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from common import Point, Variant, difference, parse, ppm, prepare, rewritten, run_all, write_page
from noise import mixed
from PIL import Image, ImageFilter

from anmok.clean import CleanSettings, clean
from anmok.loading import load
from anmok.pairs import open_pairs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from anmok.pairs import Pair

BASE = {"model.size": "tiny-resnet18", "model.image_size": 40, "data.captions": "first", "run.steps": 240}
SIDE = 45  # pixels; cleaning must not drop all of them as small
MISMATCHED, MEANINGLESS, SPOILED, TWICE = 0.2, 0.1, 0.1, 0.25  # shares of the pictures
STEPS = ("dirty", "cleaned", "cleaned, worst fifth dropped", "as they were")


def main() -> None:
    arguments = parse(__doc__, "cleaning", seeds=5)
    good, held = prepare(arguments.data, arguments.work, side=SIDE)
    dirty = rewritten(good, arguments.work / "dirty", made_dirty)
    first = [variant("dirty", dirty)]
    if not run_all(first, arguments, BASE, held):
        return
    cleaned = cleaned_copy(arguments, dirty, "cleaned", CleanSettings(min_side=SIDE))
    judge = load(arguments.work / "runs" / f"{first[0].name}-seed-0" / "last")
    settings = CleanSettings(min_side=SIDE, drop_lowest=MISMATCHED)
    scored = cleaned_copy(arguments, dirty, "cleaned-scored", settings, judge)
    variants = [variant(name, data) for name, data in zip(STEPS, (dirty, cleaned, scored, good), strict=True)]
    if points := run_all(variants, arguments, BASE, held):
        sizes = [len(open_pairs(folder)) for folder in (dirty, cleaned, scored, good)]
        write_page(
            arguments, "cleaning", points, title="Dirty against cleaned data", x="",
            text=conclusion(points, sizes),
        )  # fmt: skip


def variant(name: str, data: Path) -> Variant:
    return Variant(name, STEPS.index(name), {"data.train": [str(data)]})


def made_dirty(pairs: list[Pair]) -> Iterator[Pair]:
    random = np.random.default_rng(1)
    for number, pair in enumerate(mixed(pairs, MISMATCHED)):
        meaningless, spoiled, twice = random.random(3) < (MEANINGLESS, SPOILED, TWICE)
        texts = (f"IMG_{random.integers(1000, 9999)}.jpg",) if meaningless else pair.texts
        picture = spoilt(pair.picture, blank=bool(number % 2)) if spoiled else pair.picture
        yield replace(pair, picture=picture, texts=texts, captions={"en": texts})
        if twice:
            yield replace(pair, picture=recompressed(picture), texts=texts, captions={"en": texts})


def spoilt(picture: bytes, *, blank: bool) -> bytes:
    image = Image.open(BytesIO(picture))
    if blank:
        return ppm(Image.new("RGB", image.size, image.resize((1, 1)).getpixel((0, 0))))
    return ppm(image.filter(ImageFilter.GaussianBlur(6)))


def recompressed(picture: bytes) -> bytes:
    buffer = BytesIO()
    Image.open(BytesIO(picture)).save(buffer, "JPEG", quality=60)
    return buffer.getvalue()


def cleaned_copy(arguments: argparse.Namespace, source: Path, name: str, settings: CleanSettings, judge=None) -> Path:
    target = arguments.work / name
    if not target.exists():
        print(clean(open_pairs(source), target, settings=settings, encoder=judge).dropped)
    return target


def conclusion(points: list[Point], sizes: list[int]) -> str:
    by = {one.curve: one for one in points}
    kept = ", ".join(f"{name}: {size:,} pairs" for name, size in zip(STEPS, sizes, strict=True))
    lines = [f"{kept}."]
    for name in STEPS[1:]:
        mean, half = difference(by[name], by["dirty"])
        found = "beyond" if abs(mean) > half else "within"
        lines.append(f"{name} minus dirty: {mean:+.1f} ± {half:.1f} points, {found} the interval.")
    mean, half = difference(by["cleaned"], by["dirty"])
    if mean > half:
        lines.append("**Cleaning pays in the same number of steps: the claim holds here.**")
    elif -mean > half:
        lines.append("**Cleaning hurts here: the claim fails.**")
    else:
        lines.append("**Plain cleaning makes no difference beyond the interval: the claim is not shown here.**")
    return " ".join(lines)


if __name__ == "__main__":
    main()
