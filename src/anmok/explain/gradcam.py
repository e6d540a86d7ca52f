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

CELLS = 5


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


def feature_map(checkpoint: Checkpoint, picture: Image.Image) -> tuple[Tensor, Tensor]:
    """The embedding [d] of an RGB picture, and the feature map [1, c, h, w] that Grad-CAM looks at.

    That of the last stage, as in the paper, where it has CELLS x CELLS cells or more; else of the last stage that has.
    (The last one of `anmok-mini` has 3 x 3, and points nowhere.)
    """
    tower = image_tower(checkpoint)
    maps: list[Tensor] = []

    def hook(_: Any, __: Any, y: Tensor) -> None:
        maps.append(y if y.requires_grad else y.requires_grad_())

    ends = [stage[-1] if isinstance(stage, torch.nn.ModuleList) else stage for stage in tower.stages]
    handles = [end.register_forward_hook(hook) for end in ends]
    try:
        pixels = normalize(checkpoint.transform(picture)[None], checkpoint.transform)
        embedding: Tensor = tower(torch.from_numpy(pixels))[0]
    finally:
        for handle in handles:
            handle.remove()
    fine = [features for features in maps if min(features.shape[2:]) >= CELLS]
    return embedding, fine[-1] if fine else maps[0]
