"""Gradient checkpointing: the backward pass computes a layer's inside again, so that memory need not hold it.

Source: Training Deep Nets with Sublinear Memory Cost (Chen et al. 2016, arXiv 1604.06174).
"""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from anmok.models.modules.convolution import BatchNorm

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Recomputed", "last", "run"]


class Recomputed(nn.Module):
    """A module that passes its layers through `run` with its own switch."""

    recompute: bool = False


def run(layer: nn.Module, *inputs: Tensor | None, recompute: bool) -> Tensor:
    """`layer(*inputs)`; with `recompute` and gradients on, only the inputs are kept for the backward pass.

    Outputs, gradients and running statistics are the same either way.
    """
    if not (recompute and torch.is_grad_enabled()):
        y: Tensor = layer(*inputs)
        return y

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(layer)

    recomputed: Tensor = checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=True, context_fn=contexts)
    return recomputed


def last(outputs: Iterator[Tensor]) -> Tensor:
    """The last of a tower's outputs; the earlier ones are let go as they come."""
    return deque(outputs, maxlen=1)[0]


@contextmanager
def _statistics_kept(layer: nn.Module) -> Iterator[None]:
    """The second pass over a batch must not move the running statistics of batch norms a second time."""
    norms = [module for module in layer.modules() if isinstance(module, BatchNorm)]
    momentums = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momentums, strict=True):
            norm.momentum = momentum
