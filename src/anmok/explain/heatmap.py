"""A heat map: numbers over the whole of a picture, and how they are laid over it to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from anmok.models.spec import VitSpec
    from anmok.pictures import PictureSource

__all__ = ["Grid", "HeatMap", "covered_by", "place"]

LONGEST = 1024  # pixels of a map's longer side
Box = tuple[int, int, int, int]  # top, left, bottom, right
Span = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Grid:
    """What a method found, before it is laid over the picture.

    `values`: float32 [r, c], one number per cell of what the model takes.
    `covered`: the share of the model's input, along rows and columns, that the cells cover (pixels at the end that
        fill no patch are not seen).
    """

    values: NDArray[np.float32]
    covered: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class HeatMap:
    """Where a score comes from.

    `values`: float32 [h, w] over the area of the original picture, in its aspect ratio, at most 1,024 on the longer
        side, in -1..1: above 0 the place speaks for the target, below 0 against it (or for what it is compared
        with). The strongest place is 1 or -1. All 0 where nothing was found.
    `method`: which one made it.
    `score`: what is explained: the cosine of picture and target, less that of picture and `against`.
    `strength`: what ±1 stands for. With occlusion: how much the score falls when the place is covered. With the
        other methods it has no unit, and only maps of one method and one model may be compared.
    `seen`: top, left, bottom, right, in pixels of `values`: what the model looks at. Its transform may cut off the
        rest, which is 0 in the map.
    """

    values: NDArray[np.float32]
    method: str
    score: float
    strength: float
    seen: Box

    def overlay(self, picture: PictureSource) -> Image.Image:
        """The map over the picture it is of, in the picture's size.

        What speaks for the target turns yellow over red, what speaks against it blue; the picture stays visible in
        gray. What the model did not see is veiled.
        """
        from anmok.explain.overlay import overlay
        from anmok.pictures import read

        return overlay(read(picture), self.values, self.seen)


def place(grid: Grid, window: tuple[Span, Span], given: tuple[int, int]) -> tuple[NDArray[np.float32], float, Box]:
    """Lay a grid over the picture, bilinear between the middles of its cells.

    Args:
        grid: cells of the model's input.
        window: where that input lies in the picture (`Transform.window`).
        given: height and width of the picture.

    Returns:
        `values`, `strength` and `seen` of a HeatMap.
    """
    scale = min(1.0, LONGEST / max(given))
    shape = [max(1, round(side * scale)) for side in given]
    rows, columns = (_axis(grid.values.shape[a], shape[a], given[a], window[a], grid.covered[a]) for a in (0, 1))
    values = rows @ grid.values.astype(np.float32) @ columns.T
    strength = float(np.abs(values).max())
    if strength > 0:
        values = values / np.float32(strength)
    (top, bottom), (left, right) = _seen(rows), _seen(columns)
    return values, strength, (top, left, bottom, right)


def covered_by(tower: VitSpec, size: tuple[int, int]) -> tuple[float, float]:
    """The share of an input of that height and width that a transformer's patches cover, along both."""
    side = tower.grid * tower.patch_size
    return (1.0, 1.0) if tower.naflex else (side / size[0], side / size[1])


def _axis(cells: int, count: int, given: int, span: Span, covered: float) -> NDArray[np.float32]:
    """What each of `count` pixels of the map takes from each cell, [count, cells]; rows of 0 where nothing is seen."""
    middles = (np.arange(count) + 0.5) * given / count  # of the pixels, in the picture
    share = (middles - span[0]) / (span[1] - span[0]) / covered  # 0..1 along the cells
    where = np.clip(share * cells - 0.5, 0, cells - 1)
    below = np.minimum(where.astype(int), max(0, cells - 2))
    part = where - below
    taken = np.zeros((count, cells), np.float32)
    lines = np.arange(count)
    taken[lines, below] = 1 - part
    if cells > 1:
        taken[lines, below + 1] = part
    taken[(share < 0) | (share > 1)] = 0
    return taken


def _seen(taken: NDArray[Any]) -> tuple[int, int]:
    lines = np.flatnonzero(taken.any(axis=1))
    return (int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, 0)
