"""Which parts of a picture the encoder looks at, and how what it saw of them is laid side by side again.

A small fault on a large picture is gone once the picture is squeezed into the 96 or 224 pixels of an encoder. So a
picture is brought to a canvas and the canvas is cut into tiles of the encoder's size that overlap. The canvas is the
same for every picture of an inspector, so that each place of it always lies at the same place of the same tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Tiling"]

Size = tuple[int, int]  # height, width

OVERLAP = 0.25  # of a tile's side that neighbours share at least: features near a tile's border know only half
SHRINK = 0.97  # the canvas is made smaller in such steps until its tiles are few enough


@dataclass(frozen=True)
class Tiling:
    """The tiles of a canvas.

    `tile`: height and width that the encoder takes, pixels.
    `cells`: rows and columns of places that the encoder tells of one tile.
    `rows`, `columns`: where the tiles begin, in cells.

    >>> tiling = Tiling.choose((200, 400), tile=(96, 96), cells=(12, 12), most=16)
    >>> tiling.grid, tiling.canvas, len(tiling)
    ((25, 50), (200, 400), 15)
    """

    tile: Size
    cells: Size
    rows: tuple[int, ...] = (0,)
    columns: tuple[int, ...] = (0,)

    @classmethod
    def choose(cls, size: Size, *, tile: Size, cells: Size, most: int) -> Tiling:
        """The finest canvas for pictures of `size` (height, width) that needs at most `most` tiles.

        It keeps the aspect ratio as well as whole cells allow. It is no larger than the pictures, unless they are
        smaller than a tile.
        """
        scale = max(1.0, *(t / s for t, s in zip(tile, size, strict=True)))
        while True:
            starts = tuple(_starts(s * scale * c / t, c) for s, t, c in zip(size, tile, cells, strict=True))
            if len(starts[0]) * len(starts[1]) <= max(most, 1):
                return cls(tile, cells, *starts)
            scale *= SHRINK

    def __len__(self) -> int:
        return len(self.rows) * len(self.columns)

    @property
    def grid(self) -> Size:
        """Rows and columns of places on the canvas."""
        return self.rows[-1] + self.cells[0], self.columns[-1] + self.cells[1]

    @property
    def canvas(self) -> Size:
        """Height and width in pixels."""
        height, width = (round(g * t / c) for g, t, c in zip(self.grid, self.tile, self.cells, strict=True))
        return height, width

    def fit(self, picture: Image.Image) -> Image.Image:
        """The picture at the size of the canvas."""
        height, width = self.canvas
        return picture.resize((width, height), Image.Resampling.BICUBIC)

    def cut(self, canvas: Image.Image) -> list[NDArray[np.uint8]]:
        """The tiles of a canvas, row by row: uint8 [h, w, 3] each."""
        pixels = np.asarray(canvas)
        (height, width), (rows, columns) = self.tile, self.cells
        tops = [min(round(row * height / rows), pixels.shape[0] - height) for row in self.rows]
        lefts = [min(round(column * width / columns), pixels.shape[1] - width) for column in self.columns]
        return [np.ascontiguousarray(pixels[t : t + height, x : x + width]) for t in tops for x in lefts]

    def join(self, local: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features of the tiles [tiles, h', w', c] → of the canvas [rows, columns, c].

        Where tiles overlap, the one counts in whose middle the place is: it saw most of what surrounds the place.
        """
        height, width = self.grid
        joined = np.empty((height, width, local.shape[-1]), np.float32)
        tiles = iter(local)
        down, across = _owners(self.rows, self.cells[0]), _owners(self.columns, self.cells[1])
        for i, top in enumerate(self.rows):
            for j, left in enumerate(self.columns):
                tile, rows, columns = next(tiles), np.flatnonzero(down == i), np.flatnonzero(across == j)
                joined[np.ix_(rows, columns)] = tile[np.ix_(rows - top, columns - left)]
        return joined

    def to_dict(self) -> dict[str, list[int]]:
        """As plain JSON values."""
        fields = {"tile": self.tile, "cells": self.cells, "rows": self.rows, "columns": self.columns}
        return {name: list(value) for name, value in fields.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tiling:
        """The inverse of `to_dict`."""
        (height, width), (rows, columns) = values["tile"], values["cells"]
        return cls((height, width), (rows, columns), tuple(values["rows"]), tuple(values["columns"]))


def _starts(length: float, cells: int) -> tuple[int, ...]:
    """Where tiles of `cells` begin, evenly, on a side of about `length` cells."""
    whole = max(cells, round(length))
    step = max(1, cells - math.ceil(OVERLAP * cells))
    count = 1 + math.ceil((whole - cells) / step)
    return tuple(round(start) for start in np.linspace(0, whole - cells, count))


def _owners(starts: Sequence[int], cells: int) -> NDArray[np.int64]:
    """For each place along a side, the tile whose middle is nearest."""
    middles = np.array(starts) + (cells - 1) / 2
    places = np.arange(starts[-1] + cells)
    nearest: NDArray[np.int64] = np.abs(places[:, None] - middles).argmin(axis=1)
    return nearest
