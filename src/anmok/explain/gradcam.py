"""Grad-CAM: which cells of a convolutional network's feature map speak for the score.

Source: Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from anmok.explain.trace import image_tower
from anmok.pictures import normalize

if TYPE_CHECKING:
    from PIL import Image

    from anmok.checkpoints import Checkpoint

__all__ = ["feature_map", "gradcam"]


def gradcam(embedding: Tensor, features: Tensor, toward: Tensor) -> Tensor:
    """Channels weighted by the mean of their gradients, summed, where that is positive.

    Args:
        embedding: [d], not normalized, made from `features`.
        features: [1, c, h, w].
        toward: [d], the direction whose score `cos(embedding, toward)` is explained.

    Returns:
        [h, w], at least 0.
    """
    score = F.normalize(embedding, dim=-1) @ toward
    (gradient,) = torch.autograd.grad(score, [features], retain_graph=True)
    weights = gradient[0].mean(dim=(1, 2))  # [c]
    return torch.einsum("c,chw->hw", weights, features[0].detach()).clamp(min=0)


def feature_map(checkpoint: Checkpoint, picture: Image.Image, *, stage: int = -1) -> tuple[Tensor, Tensor]:
    """The embedding [d] of an RGB picture, and what one stage (the last) of the tower makes of it [1, c, h, w]."""
    tower = image_tower(checkpoint)
    kept: list[Tensor] = []

    def hook(_: Any, __: Any, y: Tensor) -> Tensor:
        y = y.detach().requires_grad_()
        kept.append(y)
        return y

    layers = tower.stages[stage]
    handle = (layers[-1] if isinstance(layers, torch.nn.ModuleList) else layers).register_forward_hook(hook)
    try:
        pixels = normalize(checkpoint.transform(picture)[None], checkpoint.transform)
        embedding: Tensor = tower(torch.from_numpy(pixels))[0]
    finally:
        handle.remove()
    return embedding, kept[0]
