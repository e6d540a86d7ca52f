"""A model for pictures of another size: positions are resized, everything else stays.

Source: open_clip 3.3 `resize_pos_embed`, to which this is equal: bicubic with antialiasing, as Pillow and PyTorch
(`upsample_bicubic2d_aa`) compute it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anmok.errors import CheckpointError
from anmok.models.spec import HybridSpec, ResNetSpec, VitSpec

if TYPE_CHECKING:
    from anmok.models.modules import DualEncoder
    from anmok.models.spec import DualSpec
    from anmok.models.weights import Array, Weights

__all__ = ["resize_image"]


def resize_image(model: DualEncoder | Weights, spec: DualSpec, image_size: int) -> tuple[DualSpec, dict[str, Array]]:
    """The model of `spec` for pictures of another size; its picture transform must get that size, too.

    Position embeddings (of vision transformers, and in the attention pooling of CLIP's ResNet) are resized; the
    class token's, and the mean's, stay as they are. Plain convolutional networks have none.

    Args:
        model: the weights, or a module that holds them.
        spec: of the model as it is.
        image_size: side of the pictures to come, pixels.

    Returns:
        The new spec and all weights, the ones that stay as they are shared.

    Raises:
        CheckpointError: the tower cannot take such pictures, or takes any size already (NaFlex).
    """
    image = spec.image
    if isinstance(image, VitSpec) and image.naflex:
        raise CheckpointError("a NaFlex tower takes pictures of any size as it is: set max_patches of its transform")
    resized = replace(spec, image=replace(image, image_size=image_size))
    weights = dict(model) if isinstance(model, Mapping) else _arrays(model)
    name = "image.pool.position_embedding" if isinstance(image, ResNetSpec) else "image.position_embedding"
    if name in weights:
        (old, tokens), (new, _) = _grid(spec), _grid(resized)
        weights[name] = _resize(np.asarray(weights[name]), old, new, tokens)
    return resized, weights


def _grid(spec: DualSpec) -> tuple[int, int]:
    """Cells along a side of the positions, and how many positions stand before them."""
    image = spec.image
    if isinstance(image, ResNetSpec):
        return image.grid, 1
    vit = image.vit if isinstance(image, HybridSpec) else image
    assert isinstance(vit, VitSpec)
    return vit.grid, int(vit.class_token)


def _resize(positions: Array, old: int, new: int, tokens: int) -> Array:
    """Positions [tokens + old*old, w] → [tokens + new*new, w]."""
    if old == new:
        return positions
    grid = positions[tokens:].reshape(old, old, -1).astype(np.float64)
    weights = _bicubic(old, new)
    grid = np.einsum("yi,xj,ijw->yxw", weights, weights, grid, optimize=True)
    return np.concatenate([positions[:tokens], grid.reshape(new * new, -1).astype(positions.dtype)])


def _bicubic(inputs: int, outputs: int) -> Array:
    """How much of each of a line's inputs goes into each output: [outputs, inputs], rows that sum to 1.

    Keys' cubic kernel with a = -0.5, as wide as the outputs are apart where the line gets shorter.
    """
    scale = inputs / outputs
    centers = (np.arange(outputs) + 0.5) * scale
    x = np.abs(np.arange(inputs) + 0.5 - centers[:, None]) / max(scale, 1.0)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _arrays(model: DualEncoder) -> dict[str, Array]:
    return {name: value.detach().cpu().float().numpy() for name, value in model.state_dict().items()}
