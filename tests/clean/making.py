"""Pairs in memory, and copies of pictures as the world makes them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from anmok.pairs import Pair, PairError, PairSource


@dataclass
class MemoryShard:
    """Pairs, and errors in place of pairs that cannot be read."""

    pairs: list[Pair | PairError] = field(default_factory=list)
    name: str = "memory"

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> Pair:
        pair = self.pairs[index]
        if isinstance(pair, PairError):
            raise pair
        return pair


def source_of(*pairs: Pair | PairError) -> PairSource:
    return PairSource([MemoryShard(list(pairs))], fingerprint="f" * 32)


def stored(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def recompressed(picture: Image.Image, quality: int = 40) -> Image.Image:
    return Image.open(io.BytesIO(stored(picture, "JPEG", quality=quality))).convert("RGB")


def scaled(picture: Image.Image, factor: float) -> Image.Image:
    return picture.resize([round(side * factor) for side in picture.size], Image.Resampling.BICUBIC)


def cropped(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of the sides."""
    width, height = picture.size
    return picture.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))


def mirrored(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def noise(seed: int, side: int = 96) -> Image.Image:
    """A picture like no other: smooth random colors with some detail."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((side, side), 3)
    fine = rng.integers(-20, 21, (side, side, 3))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(int) + fine, 0, 255).astype(np.uint8))
