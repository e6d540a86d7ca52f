"""Changed copies of a good picture: turned, for parts that lie as they fall; and slightly disturbed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from anmok.inspect.look import features_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from anmok.inspect.look import Source
    from anmok.inspect.tiling import Tiling

__all__ = ["disturbed", "turned_features"]

ANGLES = (45, 90, 135, 180, 225, 270, 315)


def turned_features(source: Source, canvas: Image.Image, tiling: Tiling) -> NDArray[np.float32]:
    """Features [n, c] of a canvas turned by eighths, as AnomalyDINO does (Damm et al. 2024, arXiv 2405.14529).

    Not mirrored: a mirrored part is often a wrong one. Places that the turned picture does not cover are left out.
    """
    whole, (rows, columns) = Image.new("L", canvas.size, 255), tiling.grid
    kept = []
    turned = [canvas.rotate(angle, Image.Resampling.BICUBIC) for angle in ANGLES]
    for angle, features in zip(ANGLES, features_of(source, turned, tiling), strict=True):
        cover = whole.rotate(angle).resize((columns, rows), Image.Resampling.BOX)
        kept.append(features[_inside(np.asarray(cover) == 255)])
    return np.concatenate(kept)


def _inside(covered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The covered places whose neighbours are covered too: features look beyond their own place."""
    padded = np.pad(covered, 1, constant_values=True)
    rows, columns = covered.shape
    shifted = [padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    inside: NDArray[np.bool_] = np.logical_and.reduce(shifted)
    return inside


def disturbed(canvas: Image.Image) -> Iterator[Image.Image]:
    """Copies that a camera could have taken of the same part: moved, lighter, darker, softer, noisier."""
    yield ImageChops.offset(canvas, 3, 0)
    yield ImageChops.offset(canvas, 0, -3)
    yield ImageEnhance.Brightness(canvas).enhance(1.06)
    yield ImageEnhance.Brightness(canvas).enhance(0.94)
    yield ImageEnhance.Contrast(canvas).enhance(1.06)
    yield canvas.filter(ImageFilter.GaussianBlur(0.7))
    yield canvas.rotate(2, Image.Resampling.BICUBIC, fillcolor=canvas.getpixel((0, 0)))
    noise = np.random.default_rng(0).normal(0, 3, (canvas.height, canvas.width, 3))
    yield Image.fromarray(np.clip(np.asarray(canvas) + noise, 0, 255).astype(np.uint8))
