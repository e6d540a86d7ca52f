"""From many tokens to one vector by attention: SigLIP's MAP head and the pooling of CLIP's ResNet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anmok.models.modules.blocks import Attention, Mlp, attend, key_mask

if TYPE_CHECKING:
    from anmok.models.spec import Activation

__all__ = ["AttentionPool", "MapPool"]


class MapPool(nn.Module):
    """One learned question, the probe, put to all patches (multi-head attention pooling).

    Source: Scaling Vision Transformers (Zhai et al. 2022, arXiv 2106.04560), section 3.2.
    """

    def __init__(self, width: int, heads: int, mlp_width: int, activation: Activation, norm_eps: float) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(width))
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, mlp_width, activation)
        nn.init.normal_(self.probe, std=width**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[n, l, w] → [n, w]; `mask` [n, l] is true for real tokens."""
        hidden = None if mask is None else key_mask(mask, x.dtype)
        probe = self.probe.to(x.dtype).expand(len(x), 1, -1)
        return self._finish(self.attention(probe, x, hidden)[:, 0])

    def each(self, x: Tensor) -> Tensor:
        """What `forward` would give if the probe looked at one token alone, for each: [n, l, w] → [n, l, w]."""
        return self._finish(self.attention.unmixed(x))

    def _finish(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.mlp(self.norm(x))
        return y


class AttentionPool(nn.Module):
    """The mean of the feature map asks, the mean and all cells answer. Source: CLIP's `AttentionPool2d`."""

    def __init__(self, grid: int, features: int, heads: int, dimension: int) -> None:
        super().__init__()
        self.heads = heads
        self.position_embedding = nn.Parameter(torch.empty(grid**2 + 1, features))
        self.query = nn.Linear(features, features)
        self.key = nn.Linear(features, features)
        self.value = nn.Linear(features, features)
        self.out = nn.Linear(features, dimension)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=features**-0.5) if parameter.ndim == 2 else nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Feature map [n, c, h, w] → [n, d]."""
        cells = x.flatten(2).transpose(1, 2)  # [n, h*w, c]
        tokens = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1)
        tokens = tokens + self.position_embedding
        pooled = attend(self.query(tokens[:, :1]), self.key(tokens), self.value(tokens), self.heads)
        y: Tensor = self.out(pooled[:, 0])
        return y

    def each(self, x: Tensor) -> Tensor:
        """What `forward` would give if the mean looked at one cell alone, for each: [n, c, h, w] → [n, h, w, d]."""
        cells = x.permute(0, 2, 3, 1)
        positions = self.position_embedding[1:].view(*cells.shape[1:])  # the first is the mean's
        y: Tensor = self.out(self.value(cells + positions))
        return y
