"""Dense features, as in `modules/dense.py`: what the outputs `patch_embeddings` and `local` are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.builder import FLOAT
from anmok.models.graphs.naflex import patch_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.blocks import Batch
    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import VitSpec

__all__ = ["Dense", "channels_last", "local_maps", "local_tokens", "on_the_grid"]


@dataclass(frozen=True)
class Dense:
    """The two outputs of a dense graph.

    `patches` [n, h, w, d], not of unit length; `local` [n, h', w', c]. NaFlex: [n, m, d] and [n, m, c].
    """

    patches: str
    local: str


def local_maps(g: Builder, fine: str, coarse: str) -> str:
    """Two feature maps [n, c, h, w] and [n, c', h', w'] → [n, h, w, c + c'] of 3x3 means."""
    fine, coarse = _around(g, fine), _around(g, coarse)
    size = g.op("Concat", g.op("Shape", coarse, start=0, end=2), g.op("Shape", fine, start=2, end=4), axis=0)
    coarse = g.op("Resize", coarse, "", "", size, mode="linear", coordinate_transformation_mode="half_pixel")
    return channels_last(g, g.op("Concat", fine, coarse, axis=1))


def local_tokens(g: Builder, levels: Sequence[str], batch: Batch, spec: VitSpec, real: str | None) -> str:
    """Tokens [n*l, w] of some layers → [n, h, w, c] of 3x3 means; NaFlex → [n, m, c].

    Each layer is normalized, or the few large channels that transformers have would outweigh the others.
    """
    scale = g.derived("image.local.scale", np.ones(spec.width))
    normed = [g.op("LayerNormalization", x, scale, axis=-1, epsilon=spec.norm_eps) for x in levels]
    x = g.op("Concat", *normed, axis=1) if len(normed) > 1 else normed[0]
    width = spec.width * len(levels)
    if real is not None:
        return g.op("MatMul", _neighbours(g, real), batch.unflatten(g, x, width))
    x = g.op("Transpose", on_the_grid(g, x, batch, spec, width), perm=[0, 3, 1, 2])
    return channels_last(g, _around(g, x))


def on_the_grid(g: Builder, x: str, batch: Batch, spec: VitSpec, width: int) -> str:
    """Tokens [n*l, width] → [n, h, w, width], the class token left out; NaFlex → [n, m, width]."""
    x = batch.unflatten(g, x, width)
    if spec.class_token:
        x = g.op("Slice", x, g.ints(1), g.ints(spec.positions), g.ints(1))
    return x if spec.naflex else g.reshape(x, -1, spec.grid, spec.grid, width)


def channels_last(g: Builder, x: str) -> str:
    """[n, c, h, w] → [n, h, w, c]."""
    return g.op("Transpose", x, perm=[0, 2, 3, 1])


def _around(g: Builder, x: str) -> str:
    """The mean of each cell and its neighbours, as far as there are any: [n, c, h, w] → the same."""
    return g.op("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4, count_include_pad=0)


def _neighbours(g: Builder, real: str) -> str:
    """How much of each NaFlex patch goes into the mean around each: [n, m, m]."""
    columns = g.ops("Split", "shapes", outputs=2, axis=1, num_outputs=2)[1]
    row, column = patch_places(g, real, columns)
    near = g.op("And", _within_one(g, row), _within_one(g, column))
    weight = g.op("Cast", g.op("And", near, g.op("Unsqueeze", real, g.ints(1))), to=FLOAT)
    count = g.op("Max", g.op("ReduceSum", weight, g.ints(2), keepdims=1), g.number(1.0))  # padding may have none
    return g.op("Div", weight, count)


def _within_one(g: Builder, index: str) -> str:
    """Which pairs lie at most one apart along one axis: int64 [n, m] → bool [n, m, m]."""
    distance = g.op("Sub", g.op("Unsqueeze", index, g.ints(2)), g.op("Unsqueeze", index, g.ints(1)))
    return g.op("LessOrEqual", g.op("Abs", distance), g.ints(1))
