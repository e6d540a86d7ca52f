"""Pixels and convolutions, as in `modules/convolution.py`, with batch norms folded away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.builder import FLOAT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.plan import Convolution
    from anmok.models.weights import Array

__all__ = ["activate", "centered_pixels", "convolution", "folded", "pixel_scale"]


def centered_pixels(g: Builder, size: int, mean: Sequence[float]) -> str:
    """Adds the input `pixels` uint8 [n, h, w, 3]; → float [n, 3, h, w] around 0, still to be divided by `pixel_scale`.

    A convolution pads normalized pixels with zeros. So the mean is taken off before (zero then means
    the same), while the division goes into the first kernel.
    """
    pixels = g.input("pixels", np.uint8, ["n", size, size, 3])
    x = g.op("Cast", g.op("Transpose", pixels, perm=[0, 3, 1, 2]), to=FLOAT)
    return g.op("Sub", x, g.constant(np.reshape(mean, (1, 3, 1, 1)) * 255.0, np.float32))


def pixel_scale(std: Sequence[float]) -> Array:
    """What centered pixels must be divided by, as a divisor of a kernel [w, 3, k, k]."""
    return 255.0 * np.reshape(std, (1, 3, 1, 1))


def convolution(g: Builder, name: str, x: str, layer: Convolution, *, divisor: Array | float = 1.0) -> str:
    """One layer of a plan: [n, inputs, h, w] → [n, outputs, h / stride, w / stride]."""
    norm = f"{name}.norm" if layer.norm else None
    x = folded(g, f"{name}.conv", norm, x, divisor=divisor, stride=layer.stride, pad=layer.pad, groups=layer.groups)
    return activate(g, x, layer.activation)


def folded(
    g: Builder,
    conv: str,
    norm: str | None,
    x: str,
    *,
    divisor: Array | float = 1.0,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
) -> str:
    """A convolution and the batch norm after it as one; `divisor` is what its input must be divided by.

    norm(conv(x)) = (conv(x) - mean) · s + bias with s = weight / √(var + eps): linear, so `s` goes
    into the kernel and the rest into a bias.
    """
    kernel = g.weights[f"{conv}.weight"].astype(np.float64) / divisor
    if norm is None:
        bias = g.weights[f"{conv}.bias"].astype(np.float64)
    else:
        weight, bias, mean, var = (
            g.weights[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(var + 1e-5)
        kernel, bias = kernel * scale[:, None, None, None], bias - mean * scale
    pad = kernel.shape[-1] // 2 if pad is None else pad
    inputs = [x, g.derived(f"{conv}.weight", kernel), g.derived(f"{conv}.bias", bias)]
    return g.op("Conv", *inputs, strides=[stride] * 2, pads=[pad] * 4, group=groups)


def activate(g: Builder, x: str, activation: str) -> str:
    """Elementwise, any shape: "relu", "silu" or "none"."""
    if activation == "relu":
        return g.op("Relu", x)
    return g.op("Mul", x, g.op("Sigmoid", x)) if activation == "silu" else x
