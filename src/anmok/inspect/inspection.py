"""What an inspection found on one picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anmok.inspect.heat import components

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Box", "Inspection", "find_boxes"]

NOTHING = np.empty((0, 0), np.float32)
MOST_BOXES = 20
EDGE = 0.3  # of the highest heat in a box


@dataclass(frozen=True)
class Box:
    """A part of a picture, in its pixels, right and bottom not included. `heat` is the highest inside."""

    left: int
    top: int
    right: int
    bottom: int
    heat: float


@dataclass(frozen=True, eq=False)
class Inspection:
    """One picture.

    `picture`: what messages call it.
    `score`: how unlike the good parts; comparable within one inspector only.
    `p_value`: share of good pictures that look this unlike; None with one good picture, or with words.
    `fault`: whether the score is above the threshold.
    `boxes`: where, worst first; empty where nothing is wrong.
    `heat`: float32 [h, w], laid over the picture evenly; from 1 on a place is unlike what good parts have anywhere.
    `size`: width and height of the picture, pixels.
    `error`: why the picture could not be used (then it is no fault, and all else is empty), or None.
    """

    picture: str
    score: float = float("nan")
    p_value: float | None = None
    fault: bool = False
    boxes: tuple[Box, ...] = ()
    heat: NDArray[np.float32] = field(default_factory=lambda: NOTHING, repr=False)
    size: tuple[int, int] = (0, 0)
    error: str | None = None


def find_boxes(heat: NDArray[np.float32], size: tuple[int, int], *, least: float = 1.0) -> tuple[Box, ...]:
    """Boxes around the parts with a heat of `least` or more; where there is none, around the hottest.

    Smoothing spreads a hot spot over its surroundings, so a box is drawn where the heat is EDGE of the highest in it.

    Args:
        heat: [h, w].
        size: width and height of the picture.
        least: heat.

    Returns:
        At most MOST_BOXES, hottest first.
    """
    hot = heat >= min(least, 0.9 * float(heat.max()))
    down, across = size[1] / heat.shape[0], size[0] / heat.shape[1]
    found = []
    for rows, columns in components(hot):
        inside = np.where(hot[rows, columns], heat[rows, columns], 0)
        for part in components(inside >= max(least, EDGE * float(inside.max()))) or [(slice(None), slice(None))]:
            place = _within(rows, part[0]), _within(columns, part[1])
            found.append(_box(place, down, across, float(inside[part].max())))
    return tuple(sorted(found, key=lambda box: -box.heat)[:MOST_BOXES])


def _within(outer: slice, inner: slice) -> slice:
    """A slice of a slice."""
    places = range(outer.start, outer.stop)[inner]
    return slice(places.start, places.stop)


def _box(place: tuple[slice, slice], down: float, across: float, heat: float) -> Box:
    """From rows and columns of the map to pixels of the picture: at least one."""
    rows, columns = place
    left, top = round(columns.start * across), round(rows.start * down)
    return Box(left, top, max(round(columns.stop * across), left + 1), max(round(rows.stop * down), top + 1), heat)
