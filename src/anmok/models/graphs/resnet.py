"""CLIP's ResNet, as in `modules/resnet.py`, from pixels 0..255 and with batch norms folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.models.dense import RESNET_STAGES
from anmok.models.graphs.convolution import centered_pixels, folded, pixel_scale
from anmok.models.graphs.dense import Dense, local_maps
from anmok.models.graphs.pool import attention_pool, each_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import ResNetSpec
    from anmok.models.weights import Array

__all__ = ["modified_resnet"]


def modified_resnet(
    g: Builder, spec: ResNetSpec, *, mean: Sequence[float], std: Sequence[float], dense: bool = False
) -> tuple[str, Dense | None]:
    """Adds the input `pixels` uint8 [n, h, w, 3] and the tower; the result is [n, d], and with `dense` its places."""
    x = _stem(g, centered_pixels(g, spec.image_size, mean), pixel_scale(std))
    maps = []  # after each stage
    for stage, depth in enumerate(spec.layers):
        for i in range(depth):
            name = f"image.stages.{stage}.{i}"
            x = _bottleneck(g, name, x, stride=2 if i == 0 and stage > 0 else 1, shortcut=i == 0)
        maps.append(x)
    pooled = attention_pool(g, "image.pool", x, spec)
    if not dense:
        return pooled, None
    fine, coarse = RESNET_STAGES
    return pooled, Dense(each_cell(g, "image.pool", x, spec), local_maps(g, maps[fine], maps[coarse]))


def _stem(g: Builder, x: str, divisor: Array) -> str:
    """[n, 3, h, w] → [n, c, h/4, w/4]."""
    x = g.op("Relu", folded(g, "image.stem.conv1", "image.stem.norm1", x, divisor=divisor, stride=2))
    x = g.op("Relu", folded(g, "image.stem.conv2", "image.stem.norm2", x))
    x = g.op("Relu", folded(g, "image.stem.conv3", "image.stem.norm3", x))
    return _shrink(g, x, 2)


def _bottleneck(g: Builder, name: str, x: str, *, stride: int, shortcut: bool) -> str:
    """[n, inputs, h, w] → [n, 4 * planes, h / stride, w / stride]."""
    y = g.op("Relu", folded(g, f"{name}.conv1", f"{name}.norm1", x))
    y = g.op("Relu", folded(g, f"{name}.conv2", f"{name}.norm2", y))
    y = folded(g, f"{name}.conv3", f"{name}.norm3", _shrink(g, y, stride))
    if shortcut:
        x = folded(g, f"{name}.shortcut.conv", f"{name}.shortcut.norm", _shrink(g, x, stride))
    return g.op("Relu", g.op("Add", y, x))


def _shrink(g: Builder, x: str, stride: int) -> str:
    return g.op("AveragePool", x, kernel_shape=[stride] * 2, strides=[stride] * 2) if stride > 1 else x
