"""One run of a picture tower with its insides in the open, for the methods with gradients (extra `train`).

The modules keep no attention weights. Forward hooks compute them once more beside each layer, and put the result in the
layer's place, so that gradients of them can be asked for; the modules know nothing of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok.explain.heatmap import covered_by
from anmok.models.modules import from_weights
from anmok.models.modules.blocks import Attention
from anmok.pictures import normalize, normalize_patches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

    from anmok.checkpoints import Checkpoint
    from anmok.models.modules.vit import VisionTransformer

__all__ = ["Trace", "image_tower", "recorded", "run", "trace"]


@dataclass(frozen=True)
class Trace:
    """What a transformer did with one picture of `r` x `c` patches.

    `tower`: the transformer.
    `grid`: r, c.
    `covered`: the share of the input's rows and columns that the patches cover.
    `attention`: of each block, [1, h, l, l]: what each token (row) took from each (column). Gradients can be taken.
    `tokens`: after each block, [1, l, w].
    `pooling`: of a MAP head, [1, h, 1, l]; None for other towers.
    `embedding`: [d], not normalized.
    """

    tower: VisionTransformer
    grid: tuple[int, int]
    covered: tuple[float, float]
    attention: list[Tensor]
    tokens: list[Tensor]
    pooling: Tensor | None
    embedding: Tensor

    def cells(self, per_token: Tensor) -> Tensor:
        """Numbers of tokens [l] → of patches [r, c], without the class token."""
        first = int(self.tower.spec.class_token)
        return per_token[first:].reshape(self.grid)


def image_tower(checkpoint: Checkpoint) -> Any:
    """The module of the picture tower, whose parameters need no gradients."""
    return from_weights(checkpoint.spec, checkpoint.weights).image.requires_grad_(False)


def run(checkpoint: Checkpoint, picture: Image.Image) -> Trace:
    """Run the vision transformer (a hybrid too) of a checkpoint over one RGB picture."""
    tower = image_tower(checkpoint)
    return trace(tower, *_inputs(checkpoint, tower, picture))


def trace(
    tower: VisionTransformer,
    inputs: tuple[Any, ...],
    grid: tuple[int, int],
    covered: tuple[float, float] = (1.0, 1.0),
) -> Trace:
    """Run a transformer whose parameters need no gradients over one picture.

    Args:
        tower: in eval mode.
        inputs: as its `forward` takes them, n = 1.
        grid: rows and columns of patches.
        covered: the share of the input's rows and columns that they cover.
    """
    layers: list[Tensor] = []
    handles = [block.register_forward_hook(lambda _, __, y: layers.append(y)) for block in tower.blocks]
    try:
        with recorded(tower) as weights:
            embedding = tower(*inputs)[0]
    finally:
        for handle in handles:
            handle.remove()
    pooling = weights.pop() if tower.spec.pool == "map" else None
    return Trace(tower, grid, covered, weights, layers, pooling, embedding)


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Tensor]]:
    """A list that takes the weights [n, h, q, l] of every attention that runs inside the `with` block."""
    weights: list[Tensor] = []

    def hook(layer: Attention, inputs: tuple[Any, ...], _: Tensor) -> Tensor:
        weight, output = _attend(layer, *inputs)
        weights.append(weight)
        return output

    handles = [part.register_forward_hook(hook) for part in module.modules() if isinstance(part, Attention)]
    try:
        yield weights
    finally:
        for handle in handles:
            handle.remove()


def _attend(layer: Attention, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`Attention.forward` step by step: weights [n, h, q, l] and output [n, q, w]."""
    w = tokens.shape[-1]
    q = F.linear(queries, layer.qkv.weight[:w], layer.qkv.bias[:w])
    k, v = F.linear(tokens, layer.qkv.weight[w:], layer.qkv.bias[w:]).chunk(2, dim=-1)
    q, k, v = (x.view(*x.shape[:2], layer.heads, -1).transpose(1, 2) for x in (q, k, v))
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    weights = (scores if mask is None else scores + mask).softmax(dim=-1)
    if not weights.requires_grad:
        weights.requires_grad_()  # gradients begin here: those of parameters and pixels are not needed
    output: Tensor = layer.out((weights @ v).transpose(1, 2).flatten(2))
    return weights, output


def _inputs(
    checkpoint: Checkpoint, tower: VisionTransformer, picture: Image.Image
) -> tuple[tuple[Any, ...], tuple[int, int], tuple[float, float]]:
    """What the tower takes, without padding; its grid; the share that the grid covers."""
    transform = checkpoint.transform
    if tower.spec.naflex:
        patches, mask, shape = transform.patches(picture)
        rows = torch.from_numpy(normalize_patches(patches[mask][None], transform))
        return (rows, None, torch.tensor([shape])), shape, (1.0, 1.0)
    pixels = transform(picture)
    height, width = pixels.shape[:2]
    grid = tower.spec.grid, tower.spec.grid
    return (torch.from_numpy(normalize(pixels[None], transform)),), grid, covered_by(tower.spec, (height, width))
