"""Batch normalization, and a convolution with what follows it: what all convolutional towers are made of.

Source: Batch Normalization (Ioffe and Szegedy 2015, arXiv 1502.03167).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from anmok.models import plan

__all__ = ["BatchNorm", "Convolution", "activate"]


class Convolution(nn.Module):
    """A convolution, then batch norm (or a bias in its place), then an activation."""

    def __init__(self, layer: plan.Convolution) -> None:
        super().__init__()
        # Of a 1x1 convolution with a stride, the pixels between are left out first. oneDNN 3.12 (PyTorch 2.13 on
        # processors) writes past the end of its gradient where pictures lie channels last and channels are few.
        self.skip = layer.stride if layer.side == 1 else 1
        self.conv = nn.Conv2d(
            layer.inputs,
            layer.outputs,
            layer.side,
            stride=1 if layer.side == 1 else layer.stride,
            padding=layer.pad,
            groups=layer.groups,
            bias=not layer.norm,
        )
        self.norm = BatchNorm(layer.outputs) if layer.norm else None
        self.activation = layer.activation
        _initialize(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] → [n, outputs, h / stride, w / stride]."""
        x = self.conv(x if self.skip == 1 else x[:, :, :: self.skip, :: self.skip])
        return activate(x if self.norm is None else self.norm(x), self.activation)


class BatchNorm(nn.Module):
    """Batch normalization with the four arrays that the model needs.

    PyTorch's own keeps a fifth, a count of batches seen, that no result depends on and that
    would be in every checkpoint.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.momentum = 0.1  # share of a new batch in the running statistics
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] → [n, c, h, w]."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, eps=1e-5
        )


def activate(x: Tensor, activation: str) -> Tensor:
    """Elementwise, any shape: "relu", "silu" or "none"."""
    if activation == "relu":
        return F.relu(x)
    return F.silu(x) if activation == "silu" else x


def _initialize(conv: nn.Conv2d) -> None:
    """Start values that keep the scale of what passes (He et al. 2015, arXiv 1502.01852).

    Before a batch norm that of the gradients, as torchvision and the authors of ResNet do (`fan_out`); without
    one that of the pictures (`fan_in`), since nothing else would. Torchvision's AlexNet keeps PyTorch's default, with
    which less than a hundredth of the picture is left after five layers.
    """
    nn.init.kaiming_normal_(conv.weight, mode="fan_out" if conv.bias is None else "fan_in", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
