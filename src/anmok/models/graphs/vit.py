"""The vision transformer, as in `modules/vit.py`, from pixels 0..255."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.blocks import Batch, block, last_block, linear, norm, visible
from anmok.models.graphs.builder import FLOAT
from anmok.models.graphs.pool import map_pool
from anmok.models.weights import as_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import VitSpec
    from anmok.models.weights import Array

__all__ = ["add_positions", "transformer", "vision_transformer"]


def vision_transformer(g: Builder, spec: VitSpec, *, mean: Sequence[float], std: Sequence[float]) -> str:
    """Adds the inputs and the tower; the result is [n, d].

    Inputs: `pixels` uint8 [n, h, w, 3]; NaFlex: `patches` uint8 [n, m, p*p*3], `mask` bool [n, m]
    and `shapes` int64 [n, 2].
    """
    kernel, bias = _normalizing_kernel(g, spec, mean, std)
    if spec.naflex:
        x, batch, real = _embed_patches(g, spec, kernel, bias)
        return transformer(g, spec, x, batch, real=real)
    x, batch = _embed_picture(g, spec, kernel, bias)
    return transformer(g, spec, x, batch)


def transformer(g: Builder, spec: VitSpec, x: str, batch: Batch, *, real: str | None = None) -> str:
    """The tower after its patches are embedded: tokens [n*l, w] → [n, d]; NaFlex: `real` bool [n, m] marks them."""
    mask = None if real is None else visible(g, g.op("Unsqueeze", real, g.ints(1, 2)))  # [n, 1, 1, m]
    if spec.pre_norm:
        x = norm(g, "image.pre_norm", x, spec.norm_eps)
    full_blocks = spec.layers - 1 if spec.pool == "cls" else spec.layers
    for i in range(full_blocks):
        x = block(g, f"image.blocks.{i}", x, batch, spec, mask=mask)
    if spec.pool == "cls":
        first = g.op("Expand", g.ints(0), g.op("Concat", g.size("pixels", 0), g.ints(1), axis=0))  # [n, 1]
        x = last_block(g, f"image.blocks.{full_blocks}", x, batch, spec, row=first)
    x = norm(g, "image.norm", x, spec.norm_eps)
    if spec.pool == "map":
        x = map_pool(g, "image.pool", x, batch, spec, mask=mask)
    elif spec.pool == "mean":
        x = _mean(g, batch.unflatten(g, x, spec.width), spec, real)
    return linear(g, "image.projection", x, bias=False) if spec.projection else x


def _normalizing_kernel(g: Builder, spec: VitSpec, mean: Sequence[float], std: Sequence[float]) -> tuple[Array, Array]:
    """The patch embedding for pixels 0..255: kernel [w, p*p*3] and bias [w], in float64.

    A patch embedding has no padding, so normalizing its input, (x/255 - mean) / std, is the
    same as another kernel and another bias.
    """
    kernel = g.weights["image.patch_embedding.weight"].astype(np.float64).transpose(0, 2, 3, 1)  # [w, p, p, 3]
    bias = -(kernel * (np.asarray(mean) / np.asarray(std))).sum(axis=(1, 2, 3))
    if spec.patch_bias:
        bias += g.weights["image.patch_embedding.bias"].astype(np.float64)
    kernel /= 255 * np.asarray(std, np.float64)
    return kernel.reshape(spec.width, -1), bias


def _embed_picture(g: Builder, spec: VitSpec, kernel: Array, bias: Array) -> tuple[str, Batch]:
    """Pixels uint8 [n, h, w, 3] → tokens [n*l, w]."""
    size, grid, p, w = spec.image_size, spec.grid, spec.patch_size, spec.width
    x = g.input("pixels", np.uint8, ["n", size, size, 3])
    if grid * p < size:  # as a convolution does: what does not fill a patch is left out
        x = g.op("Slice", x, g.ints(0, 0), g.ints(grid * p, grid * p), g.ints(1, 2))
    x = g.op("Transpose", g.reshape(x, -1, grid, p, grid, p, 3), perm=[0, 1, 3, 2, 4, 5])
    x = g.op("Cast", g.reshape(x, -1, p * p * 3), to=FLOAT)
    x = g.op("Gemm", x, g.derived("image.patch_embedding.weight", kernel), transB=1)
    return add_positions(g, spec, g.reshape(x, -1, grid**2, w), bias)


def add_positions(g: Builder, spec: VitSpec, x: str, bias: Array | float) -> tuple[str, Batch]:
    """Patches [n, grid*grid, w] → tokens [n*l, w]: the class token before them, positions and `bias` added."""
    w = spec.width
    positions = as_float32(g.weights["image.position_embedding"])
    patches = positions[int(spec.class_token) :] + bias
    x = g.op("Add", x, g.derived("image.patch_embedding.position", patches))
    if spec.class_token:
        token = as_float32(g.weights["image.class_embedding"]) + positions[0]
        token_shape = g.op("Concat", g.size("pixels", 0), g.ints(1, w), axis=0)
        token_rows = g.op("Expand", g.derived("image.class_embedding", token), token_shape)
        x = g.op("Concat", token_rows, x, axis=1)
    return g.reshape(x, -1, w), Batch(spec.positions)


def _embed_patches(g: Builder, spec: VitSpec, kernel: Array, bias: Array) -> tuple[str, Batch, str]:
    """NaFlex patches uint8 [n, m, p*p*3] → tokens [n*m, w] and the mask of real ones, bool [n, m]."""
    inputs, grid = spec.patch_size**2 * 3, spec.grid
    patches = g.input("patches", np.uint8, ["n", "m", inputs])
    mask = g.input("mask", np.bool_, ["n", "m"])
    shapes = g.input("shapes", np.int64, ["n", 2])
    x = g.op("Cast", g.reshape(patches, -1, inputs), to=FLOAT)
    weight = g.derived("image.patch_embedding.weight", kernel)
    x = g.op("Gemm", x, weight, g.derived("image.patch_embedding.bias", bias), transB=1)
    positions = g.op("Gemm", _resizing(g, patches, shapes, grid), g.weight("image.position_embedding"))
    return g.op("Add", x, positions), Batch(None, (g.size(patches, 0), g.size(patches, 1))), mask


def _resizing(g: Builder, patches: str, shapes: str, grid: int) -> str:
    """How much of each of the grid's g*g positions goes into each patch: [n*m, g*g].

    The bilinear resize with antialiasing of `modules/vit.py` works on rows and columns
    separately, so the weight of a position is that of its row times that of its column.
    """
    rows, columns = g.ops("Split", shapes, outputs=2, axis=1, num_outputs=2)  # [n, 1] each
    count = g.op("Squeeze", g.size(patches, 1))
    patch = g.op("Range", g.constant(0, np.int64), count, g.constant(1, np.int64))  # [m]
    row = g.op("Div", patch, columns)  # [n, m]
    column = g.op("Sub", patch, g.op("Mul", row, columns))
    row = g.op("Min", row, g.op("Sub", rows, g.ints(1)))  # padding: some real row, it is hidden anyway
    vertical = g.op("Unsqueeze", _bilinear(g, row, rows, grid), g.ints(3))  # [n, m, g, 1]
    horizontal = g.op("Unsqueeze", _bilinear(g, column, columns, grid), g.ints(2))  # [n, m, 1, g]
    return g.reshape(g.op("Mul", vertical, horizontal), -1, grid**2)


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


def _mean(g: Builder, x: str, spec: VitSpec, real: str | None) -> str:
    """The mean of the (real) patches: [n, l, w] → [n, w]."""
    if real is not None:
        weight = g.op("Unsqueeze", g.op("Cast", real, to=FLOAT), g.ints(2))  # [n, m, 1]
        total = g.op("ReduceSum", g.op("Mul", x, weight), g.ints(1), keepdims=0)
        return g.op("Div", total, g.op("ReduceSum", weight, g.ints(1), keepdims=0))
    if spec.class_token:
        x = g.op("Slice", x, g.ints(1), g.ints(spec.positions), g.ints(1))
    return g.op("ReduceMean", x, g.ints(1), keepdims=0)
