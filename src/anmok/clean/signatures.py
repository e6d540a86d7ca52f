"""Signatures: pictures of 32 x 32 pixels, small enough to keep a million, and how alike two of them are.

Two pictures are alike where the whole of one correlates with some window of the other, in color: so a copy that lost
up to a seventh of each side is found, and pictures that a hash takes for one (a red heart and a green one, two shirts
on one wall) are told apart. The mean of each color and the spread are taken off first: a brightened copy stays the
same, and two things on one yellow ground are not alike because both are yellow.

Source: zero-mean normalized cross-correlation, Lewis 1995, "Fast Normalized Cross-Correlation".
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SIGNATURE", "signature", "similarity"]

SIDE = 32
SIGNATURE = (3, SIDE, SIDE)  # shape of one
CELLS = 16  # both are compared at this side, so that a window loses nothing but detail
WINDOWS = ((0.97, 3), (0.94, 3), (0.9, 4), (0.86, 5))  # side of a window, and places for it in each direction
SURE = 0.99  # two wholes that are so alike are not cut; most copies are
CHUNK = 64  # pairs at once: some 5 MB


def signature(picture: Image.Image) -> NDArray[np.uint8]:
    """The signature of an RGB picture of any size, uint8 [3, 32, 32]."""
    way = Image.Resampling.BOX if min(picture.size) >= SIDE else Image.Resampling.BICUBIC
    return np.asarray(picture.resize((SIDE, SIDE), way)).transpose(2, 0, 1)


def similarity(first: NDArray[np.uint8], second: NDArray[np.uint8], *, mirrored: bool = False) -> NDArray[np.float32]:
    """How alike the pictures of each pair are.

    Args:
        first, second: signatures uint8 [p, 3, 32, 32].
        mirrored: whether the second of each pair is turned left to right before.

    Returns:
        float32 [p] in -1..1: the highest correlation of one as a whole with a window of the other.
    """
    found = np.empty(len(first), np.float32)
    for start in range(0, len(first), CHUNK):
        one = first[start : start + CHUNK].astype(np.float32)
        two = second[start : start + CHUNK, ..., :: -1 if mirrored else 1].astype(np.float32)
        whole_one, whole_two = _whole(one), _whole(two)
        best = np.einsum("pcxy,pcxy->p", whole_one, whole_two)
        cut = best < SURE
        for windows in _windows() if cut.any() else ():
            best[cut] = np.maximum(best[cut], _best_window(one[cut], whole_two[cut], windows))
            best[cut] = np.maximum(best[cut], _best_window(two[cut], whole_one[cut], windows))
        found[start : start + CHUNK] = np.clip(best, -1, 1)
    return found


def _whole(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """[p, 3, 16, 16], each color of mean zero, and of length one; a picture of one color is all zeros."""
    small = pictures.reshape(len(pictures), 3, CELLS, 2, CELLS, 2).mean(axis=(3, 5))
    small -= small.mean(axis=(2, 3), keepdims=True)
    length = np.sqrt(np.einsum("pcxy,pcxy->p", small, small))
    unit: NDArray[np.float32] = small / np.maximum(length, 1e-3)[:, None, None, None]
    return unit


def _best_window(
    pictures: NDArray[np.float32], whole: NDArray[np.float32], windows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The highest correlation of `whole` with the windows of `pictures`, [p]; `windows` is [k * 16, 32]."""
    p, k = len(pictures), len(windows) // CELLS
    cut = windows @ pictures @ windows.T  # [p, 3, k * 16, k * 16]: every window down and across
    cut = cut.reshape(p, 3, k, CELLS, k, CELLS)
    product = np.einsum("pcixjy,pcxy->pij", cut, whole)  # the means of `whole` are zero
    square = np.einsum("pcixjy,pcixjy->pij", cut, cut)
    means = windows.reshape(k, CELLS, SIDE).mean(axis=1)  # of the cells of each window, [k, 32]
    mean = means @ pictures @ means.T  # of each color, [p, 3, k, k]
    spread = np.sqrt(np.maximum(square - CELLS * CELLS * (mean**2).sum(axis=1), 1e-6))
    best: NDArray[np.float32] = (product / spread).reshape(p, -1).max(axis=1)
    return best


@cache
def _windows() -> tuple[NDArray[np.float32], ...]:
    """For each size of window, the areas that its cells average, one place below the other: [k * 16, 32]."""
    return tuple(
        np.concatenate([_areas(side, start) for start in np.linspace(0, 1 - side, places)]) for side, places in WINDOWS
    )


def _areas(side: float, start: float) -> NDArray[np.float32]:
    """[16, 32]: what share of each pixel belongs to each cell of a window; rows sum to one."""
    cells = start + side * np.arange(CELLS + 1) / CELLS
    pixels = np.arange(SIDE + 1) / SIDE
    low = np.maximum(cells[:-1, None], pixels[None, :-1])
    high = np.minimum(cells[1:, None], pixels[None, 1:])
    shared = np.maximum(high - low, 0)
    areas: NDArray[np.float32] = (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)
    return areas
