"""CLIP's ResNet, as in `modules/resnet.py`, from pixels 0..255 and with batch norms folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.builder import FLOAT
from anmok.models.graphs.pool import attention_pool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import ResNetSpec
    from anmok.models.weights import Array

__all__ = ["modified_resnet"]


def modified_resnet(g: Builder, spec: ResNetSpec, *, mean: Sequence[float], std: Sequence[float]) -> str:
    """Adds the input `pixels` uint8 [n, h, w, 3] and the tower; the result is [n, d]."""
    pixels = g.input("pixels", np.uint8, ["n", spec.image_size, spec.image_size, 3])
    x = g.op("Cast", g.op("Transpose", pixels, perm=[0, 3, 1, 2]), to=FLOAT)
    # The stem pads normalized pixels with zeros. So the mean is taken off before (zero then means
    # the same), while the division goes into the kernel.
    x = g.op("Sub", x, g.constant(np.reshape(mean, (1, 3, 1, 1)) * 255.0, np.float32))
    x = _stem(g, x, spec, 255.0 * np.reshape(std, (1, 3, 1, 1)))
    for stage, depth in enumerate(spec.layers):
        for i in range(depth):
            name = f"image.stages.{stage}.{i}"
            x = _bottleneck(g, name, x, stride=2 if i == 0 and stage > 0 else 1, shortcut=i == 0)
    return attention_pool(g, "image.pool", x, spec)


def _stem(g: Builder, x: str, spec: ResNetSpec, divisor: Array) -> str:
    """[n, 3, h, w] → [n, c, h/4, w/4]."""
    x = g.op("Relu", _convolution(g, "image.stem.conv1", "image.stem.norm1", x, divisor=divisor, strides=[2, 2]))
    x = g.op("Relu", _convolution(g, "image.stem.conv2", "image.stem.norm2", x))
    x = g.op("Relu", _convolution(g, "image.stem.conv3", "image.stem.norm3", x))
    return _shrink(g, x, 2)


def _bottleneck(g: Builder, name: str, x: str, *, stride: int, shortcut: bool) -> str:
    """[n, inputs, h, w] → [n, 4 * planes, h / stride, w / stride]."""
    y = g.op("Relu", _convolution(g, f"{name}.conv1", f"{name}.norm1", x))
    y = g.op("Relu", _convolution(g, f"{name}.conv2", f"{name}.norm2", y))
    y = _convolution(g, f"{name}.conv3", f"{name}.norm3", _shrink(g, y, stride))
    if shortcut:
        x = _convolution(g, f"{name}.shortcut.conv", f"{name}.shortcut.norm", _shrink(g, x, stride))
    return g.op("Relu", g.op("Add", y, x))


def _convolution(
    g: Builder, conv: str, norm: str, x: str, *, divisor: Array | float = 1.0, strides: Sequence[int] = (1, 1)
) -> str:
    """A convolution and the batch norm after it as one; `divisor` is what its input must be divided by.

    norm(conv(x)) = (conv(x) - mean) · s + bias with s = weight / √(var + eps): linear, so `s` goes
    into the kernel and the rest into a bias.
    """
    weight, bias, mean, var = (
        g.weights[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / np.sqrt(var + 1e-5)
    kernel = g.weights[f"{conv}.weight"].astype(np.float64) / divisor * scale[:, None, None, None]
    pad = kernel.shape[-1] // 2
    return g.op(
        "Conv",
        x,
        g.derived(f"{conv}.weight", kernel),
        g.derived(f"{conv}.bias", bias - mean * scale),
        strides=list(strides),
        pads=[pad] * 4,
    )


def _shrink(g: Builder, x: str, stride: int) -> str:
    return g.op("AveragePool", x, kernel_shape=[stride] * 2, strides=[stride] * 2) if stride > 1 else x
