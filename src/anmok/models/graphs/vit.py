"""The vision transformer, as in `modules/vit.py`, from pixels 0..255."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.dense import local_blocks
from anmok.models.graphs.blocks import Batch, block, last_block, linear, norm, unmixed, visible
from anmok.models.graphs.builder import FLOAT
from anmok.models.graphs.dense import Dense, local_tokens, on_the_grid
from anmok.models.graphs.naflex import resizing
from anmok.models.graphs.pool import each_token, map_pool
from anmok.models.weights import as_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import VitSpec
    from anmok.models.weights import Array

__all__ = ["add_positions", "transformer", "vision_transformer"]


def vision_transformer(
    g: Builder, spec: VitSpec, *, mean: Sequence[float], std: Sequence[float], dense: bool = False
) -> tuple[str, Dense | None]:
    """Adds the inputs and the tower; the result is [n, d], and with `dense` also what its places are.

    Inputs: `pixels` uint8 [n, h, w, 3]; NaFlex: `patches` uint8 [n, m, p*p*3], `mask` bool [n, m]
    and `shapes` int64 [n, 2].
    """
    kernel, bias = _normalizing_kernel(g, spec, mean, std)
    if spec.naflex:
        x, batch, real = _embed_patches(g, spec, kernel, bias)
        return transformer(g, spec, x, batch, real=real, dense=dense)
    x, batch = _embed_picture(g, spec, kernel, bias)
    return transformer(g, spec, x, batch, dense=dense)


def transformer(
    g: Builder, spec: VitSpec, x: str, batch: Batch, *, real: str | None = None, dense: bool = False
) -> tuple[str, Dense | None]:
    """The tower after its patches are embedded: tokens [n*l, w] → [n, d]; NaFlex: `real` bool [n, m] marks them."""
    mask = None if real is None else visible(g, g.op("Unsqueeze", real, g.ints(1, 2)))  # [n, 1, 1, m]
    if spec.pre_norm:
        x = norm(g, "image.pre_norm", x, spec.norm_eps)
    entering = []  # the tokens that enter each block
    for i in range(spec.layers):
        entering.append(x)
        if spec.pool == "cls" and i == spec.layers - 1:
            first = g.op("Expand", g.ints(0), g.op("Concat", g.size("pixels", 0), g.ints(1), axis=0))  # [n, 1]
            x = last_block(g, f"image.blocks.{i}", x, batch, spec, row=first)
        else:
            x = block(g, f"image.blocks.{i}", x, batch, spec, mask=mask)
    x = pooled = norm(g, "image.norm", x, spec.norm_eps)
    if spec.pool == "map":
        pooled = map_pool(g, "image.pool", x, batch, spec, mask=mask)
    elif spec.pool == "mean":
        pooled = _mean(g, batch.unflatten(g, x, spec.width), spec, real)
    return _project(g, spec, pooled), _dense(g, spec, entering, x, batch, real=real) if dense else None


def _project(g: Builder, spec: VitSpec, x: str) -> str:
    """[rows, w] → [rows, d]."""
    return linear(g, "image.projection", x, bias=False) if spec.projection else x


def _dense(g: Builder, spec: VitSpec, entering: list[str], x: str, batch: Batch, *, real: str | None) -> Dense:
    """From the tokens that entered each block, and `x`, those that left the last one, normalized (not with "cls")."""
    if spec.pool == "cls":
        x = unmixed(g, f"image.blocks.{spec.layers - 1}", entering[-1], spec)
        x = norm(g, "image.norm", x, spec.norm_eps)
    elif spec.pool == "map":
        x = each_token(g, "image.pool", x, spec)
    dimension = len(g.weights["image.projection.weight"]) if spec.projection else spec.width
    patches = on_the_grid(g, _project(g, spec, x), batch, spec, dimension)
    levels = [entering[i] for i in local_blocks(spec.layers)]
    return Dense(patches, local_tokens(g, levels, batch, spec, real))


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
    positions = g.op("Gemm", resizing(g, patches, shapes, grid), g.weight("image.position_embedding"))
    return g.op("Add", x, positions), Batch(None, (g.size(patches, 0), g.size(patches, 1))), mask


def _mean(g: Builder, x: str, spec: VitSpec, real: str | None) -> str:
    """The mean of the (real) patches: [n, l, w] → [n, w]."""
    if real is not None:
        weight = g.op("Unsqueeze", g.op("Cast", real, to=FLOAT), g.ints(2))  # [n, m, 1]
        total = g.op("ReduceSum", g.op("Mul", x, weight), g.ints(1), keepdims=0)
        return g.op("Div", total, g.op("ReduceSum", weight, g.ints(1), keepdims=0))
    if spec.class_token:
        x = g.op("Slice", x, g.ints(1), g.ints(spec.positions), g.ints(1))
    return g.op("ReduceMean", x, g.ints(1), keepdims=0)
