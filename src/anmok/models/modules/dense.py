"""Dense features: what each place of a picture is, beside what the whole is. `models/dense.py` says why these.

Every picture tower has a `dense` that takes what its `forward` takes and gives a `Dense`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dense", "local_maps", "local_tokens"]


class Dense(NamedTuple):
    """Not of unit length. NaFlex: `patches` [n, l, d] and `local` [n, l, c], zeros where a place is padding."""

    embedding: Tensor  # [n, d], what `forward` gives
    patches: Tensor  # [n, h, w, d]
    local: Tensor  # [n, h', w', c]


def local_maps(fine: Tensor, coarse: Tensor) -> Tensor:
    """Two feature maps [n, c, h, w] and [n, c', h', w'] → [n, h, w, c + c'] of 3x3 means."""
    fine, coarse = around(fine), around(coarse)
    coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([fine, coarse], dim=1).permute(0, 2, 3, 1)


def local_tokens(levels: Sequence[Tensor], shapes: Sequence[tuple[int, int]], eps: float) -> Tensor:
    """Tokens [n, l, w] of some layers, without a class token → [n, l, c] of 3x3 means.

    Each layer is normalized, or the few large channels that transformers have would outweigh the others.

    Args:
        levels: of each layer.
        shapes: rows and columns of each picture; what is beyond them is padding.
        eps: of the layer norm.
    """
    x = torch.cat([F.layer_norm(level, level.shape[-1:], eps=eps) for level in levels], dim=-1)
    result = torch.zeros_like(x)
    for i, (rows, columns) in enumerate(shapes):
        grid = x[i, : rows * columns].T.reshape(1, -1, rows, columns)
        result[i, : rows * columns] = around(grid)[0].flatten(1).T
    return result


def around(x: Tensor) -> Tensor:
    """The mean of each cell and its neighbours, as far as there are any: [n, c, h, w] → the same."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
