"""Where the patches of NaFlex pictures lie, as in `modules/vit.py`: each picture has its own rows and columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.builder import FLOAT

if TYPE_CHECKING:
    from anmok.models.graphs.builder import Builder

__all__ = ["patch_places", "resizing"]


def resizing(g: Builder, patches: str, shapes: str, grid: int) -> str:
    """How much of each of the grid's g*g positions goes into each patch: [n*m, g*g].

    The bilinear resize with antialiasing of `modules/vit.py` works on rows and columns
    separately, so the weight of a position is that of its row times that of its column.
    """
    rows, columns = g.ops("Split", shapes, outputs=2, axis=1, num_outputs=2)  # [n, 1] each
    row, column = patch_places(g, patches, columns)
    row = g.op("Min", row, g.op("Sub", rows, g.ints(1)))  # padding: some real row, it is hidden anyway
    vertical = g.op("Unsqueeze", _bilinear(g, row, rows, grid), g.ints(3))  # [n, m, g, 1]
    horizontal = g.op("Unsqueeze", _bilinear(g, column, columns, grid), g.ints(2))  # [n, m, 1, g]
    return g.reshape(g.op("Mul", vertical, horizontal), -1, grid**2)


def patch_places(g: Builder, patches: str, columns: str) -> tuple[str, str]:
    """Row and column of each patch, int64 [n, m] each. `patches` [n, m, ...]; `columns` int64 [n, 1]."""
    count = g.op("Squeeze", g.size(patches, 1))
    patch = g.op("Range", g.constant(0, np.int64), count, g.constant(1, np.int64))  # [m]
    row = g.op("Div", patch, columns)  # [n, m]
    return row, g.op("Sub", patch, g.op("Mul", row, columns))


def _bilinear(g: Builder, index: str, size: str, grid: int) -> str:
    """Weights of a line's `grid` inputs for output `index` [n, m] of `size` [n, 1] outputs: [n, m, g].

    A triangle around the output's place among the inputs, wider where the line gets shorter
    (antialiasing), cut off at the ends. Source: PyTorch's `upsample_bilinear2d_aa`.
    """
    scale = g.op("Div", g.number(grid), g.op("Cast", size, to=FLOAT))  # [n, 1]
    center = g.op("Mul", g.op("Add", g.op("Cast", index, to=FLOAT), g.number(0.5)), scale)  # [n, m]
    places = g.constant(np.arange(grid) + 0.5, np.float32)  # [g]
    distance = g.op("Abs", g.op("Sub", places, g.op("Unsqueeze", center, g.ints(2))))  # [n, m, g]
    reach = g.op("Unsqueeze", g.op("Max", scale, g.number(1.0)), g.ints(2))  # [n, 1, 1]
    triangle = g.op("Relu", g.op("Sub", g.number(1.0), g.op("Div", distance, reach)))
    return g.op("Div", triangle, g.op("ReduceSum", triangle, g.ints(2), keepdims=1))
