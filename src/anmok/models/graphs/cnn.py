"""Plain convolutional networks, as in `modules/cnn.py`, from the same plans and from pixels 0..255."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.models.dense import local_stages
from anmok.models.graphs.blocks import linear
from anmok.models.graphs.convolution import activate, centered_pixels, convolution, pixel_scale
from anmok.models.graphs.dense import Dense, channels_last, local_maps
from anmok.models.plan import Convolution, MaxPool, Squeeze, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.plan import Layer, Residual
    from anmok.models.spec import CnnSpec
    from anmok.models.weights import Array

__all__ = ["conv_net"]


def conv_net(
    g: Builder, spec: CnnSpec, *, mean: Sequence[float], std: Sequence[float], dense: bool = False
) -> tuple[str, Dense | None]:
    """Adds the input `pixels` uint8 [n, h, w, 3] and the tower; the result is [n, d], and with `dense` its places."""
    x, divisor = centered_pixels(g, spec.image_size, mean), pixel_scale(std)
    maps = []  # after each stage
    for i, stage in enumerate(plan(spec)):
        for j, layer in enumerate(stage):
            x = _layer(g, f"image.stages.{i}.{j}", x, layer, divisor=divisor if i == j == 0 else 1.0)
        maps.append(x)
    pooled = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)  # [n, c]
    embedding = linear(g, "image.projection", pooled, bias=False)
    if not dense:
        return embedding, None
    fine, coarse = local_stages(spec)
    return embedding, Dense(_each_cell(g, x), local_maps(g, maps[fine], maps[coarse]))


def _each_cell(g: Builder, x: str) -> str:
    """The projection of every cell, whose mean is the embedding: [n, c, h, w] → [n, h, w, d]."""
    kernel = g.derived("image.projection.kernel", g.weights["image.projection.weight"][:, :, None, None])
    return channels_last(g, g.op("Conv", x, kernel))


def _layer(g: Builder, name: str, x: str, layer: Layer, *, divisor: Array | float = 1.0) -> str:
    """[n, inputs, h, w] → [n, outputs, h / stride, w / stride]."""
    if isinstance(layer, Convolution):
        return convolution(g, name, x, layer, divisor=divisor)
    if isinstance(layer, MaxPool):
        window, stride, pad = [layer.side] * 2, [layer.stride] * 2, [layer.pad] * 4
        return g.op("MaxPool", x, kernel_shape=window, strides=stride, pads=pad)
    return _squeeze(g, name, x) if isinstance(layer, Squeeze) else _residual(g, name, x, layer)


def _residual(g: Builder, name: str, x: str, layer: Residual) -> str:
    """[n, inputs, h, w] → [n, outputs, h / stride, w / stride]."""
    y = x
    for i, inner in enumerate(layer.body):
        y = _layer(g, f"{name}.body.{i}", y, inner)
    if layer.shortcut is not None:
        x = convolution(g, f"{name}.shortcut", x, layer.shortcut)
    return activate(g, g.op("Add", y, x), layer.activation)


def _squeeze(g: Builder, name: str, x: str) -> str:
    """[n, c, h, w] → [n, c, h, w]."""
    mean = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    share = linear(g, f"{name}.up", activate(g, linear(g, f"{name}.down", mean), "silu"))
    return g.op("Mul", x, g.op("Unsqueeze", g.op("Sigmoid", share), g.ints(2, 3)))
