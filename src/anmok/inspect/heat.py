"""From a value per place to a map in pixels, and from the map to boxes.

Enlarging (bilinear) and smoothing (Gaussian) are linear and go along one axis at a time, so each axis is one matrix,
and a map is `down @ values @ across.T`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["components", "enlarge"]

SMOOTH = 0.8  # standard deviation of the Gaussian, in places


def enlarge(values: NDArray[np.float32], size: tuple[int, int], *, smooth: float = SMOOTH) -> NDArray[np.float32]:
    """A value per place [rows, columns] → a smooth map of `size` (height, width), float32.

    Args:
        values: laid over the map evenly.
        size: of the map, pixels.
        smooth: standard deviation of the Gaussian, in places.
    """
    (rows, columns), (height, width) = values.shape, size
    down, across = _axis(rows, height, smooth), _axis(columns, width, smooth)
    enlarged = down @ values @ across.T
    return np.asarray(enlarged, np.float32)


@lru_cache(maxsize=16)
def _axis(places: int, pixels: int, smooth: float) -> NDArray[np.float32]:
    """[pixels, places]: how much each place counts for each pixel of one axis; rows add up to 1."""
    positions = (np.arange(pixels) + 0.5) * places / pixels - 0.5  # of pixel middles, in places
    tents = np.clip(1 - np.abs(np.clip(positions, 0, places - 1)[:, None] - np.arange(places)), 0, None)
    if smooth <= 0:
        return np.asarray(tents, np.float32)
    bells = np.exp(-0.5 * ((positions[:, None] - positions) / smooth) ** 2)
    both = bells / bells.sum(axis=1, keepdims=True) @ tents  # at the border the Gaussian is cut, not mirrored
    return np.asarray(both, np.float32)


def components(mask: NDArray[np.bool_]) -> list[tuple[slice, slice]]:
    """The boxes (rows, columns) around parts of a mask [h, w] that hang together, also by their corners.

    Row by row: stretches of True are united with those of the row above that they touch.
    """
    parent: list[int] = []
    boxes: list[list[int]] = []  # top, bottom, left, right of each stretch

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    above: list[int] = []
    for row in range(len(mask)):
        edges = np.flatnonzero(np.diff(mask[row].astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
        current = []
        for left, right in edges.tolist():
            k = len(parent)
            parent.append(k)
            boxes.append([row, row + 1, left, right])
            for other in above:
                if boxes[other][2] <= right and left <= boxes[other][3]:
                    parent[root(other)] = root(k)
            current.append(k)
        above = current
    united: dict[int, list[int]] = {}
    for k, (top, bottom, left, right) in enumerate(boxes):
        box = united.setdefault(root(k), [top, bottom, left, right])
        box[:] = min(box[0], top), max(box[1], bottom), min(box[2], left), max(box[3], right)
    return [(slice(top, bottom), slice(left, right)) for top, bottom, left, right in sorted(united.values())]
