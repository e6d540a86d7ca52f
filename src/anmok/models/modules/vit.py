"""The vision transformer: a picture as a sentence of patches.

Sources: ViT (Dosovitskiy et al. 2020, arXiv 2010.11929); CLIP's `VisionTransformer`; SigLIP's MAP
head; SigLIP 2 NaFlex (arXiv 2502.14786, section 2.4.2) after transformers' `modeling_siglip2.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok.models.dense import local_blocks
from anmok.models.modules.blocks import Block, initialize_blocks, key_mask
from anmok.models.modules.dense import Dense, local_tokens
from anmok.models.modules.pool import MapPool
from anmok.models.modules.recompute import Recomputed, last, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.models.spec import VitSpec

__all__ = ["VisionTransformer", "resize_positions"]


class VisionTransformer(Recomputed):
    """Pictures → vectors of the shared space, with a class token (CLIP) or attention pooling (SigLIP)."""

    def __init__(self, spec: VitSpec, dimension: int, *, patch_embedding: nn.Module | None = None) -> None:
        super().__init__()
        w, p = spec.width, spec.patch_size
        self.spec = spec
        if patch_embedding is None:
            patch_embedding = nn.Conv2d(3, w, kernel_size=p, stride=p, bias=spec.patch_bias)
        self.patch_embedding = patch_embedding
        if spec.class_token:
            self.class_embedding = nn.Parameter(torch.empty(w))
        self.position_embedding = nn.Parameter(torch.empty(spec.positions, w))
        if spec.pre_norm:
            self.pre_norm = nn.LayerNorm(w, eps=spec.norm_eps)
        self.blocks = nn.ModuleList(
            Block(w, spec.heads, spec.mlp_width, spec.activation, spec.norm_eps) for _ in range(spec.layers)
        )
        self.norm = nn.LayerNorm(w, eps=spec.norm_eps)
        if spec.pool == "map":
            self.pool = MapPool(w, spec.heads, spec.mlp_width, spec.activation, spec.norm_eps)
        if spec.projection:
            self.projection = nn.Linear(w, dimension, bias=False)
        self._initialize()

    def forward(self, pixels: Tensor, mask: Tensor | None = None, shapes: Tensor | None = None) -> Tensor:
        """Encode pictures.

        Args:
            pixels: normalized float [n, 3, h, w]; NaFlex: normalized patches [n, l, p*p*3], each in
                the order row, column, channel.
            mask: NaFlex: [n, l], true where a patch is real and not padding.
            shapes: NaFlex: int [n, 2], rows and columns of patches of each picture.

        Returns:
            [n, d], not normalized.
        """
        x = last(self._tokens(pixels, mask, shapes))
        return self._project(self._pool(self.norm(x), mask))

    def dense(self, pixels: Tensor, mask: Tensor | None = None, shapes: Tensor | None = None) -> Dense:
        """What `forward` takes → the embedding, and what each place is."""
        tokens = list(self._tokens(pixels, mask, shapes))
        x = self.norm(tokens[-1])
        embedding = self._project(self._pool(x, mask))
        if self.spec.pool == "cls":
            block = self.blocks[-1]
            assert isinstance(block, Block)
            x = self.norm(block.unmixed(tokens[-2]))
        elif self.spec.pool == "map":
            x = self.pool.each(x)
        grid = self.spec.grid
        places = [(grid, grid)] * len(x) if shapes is None else [(int(h), int(w)) for h, w in shapes.tolist()]
        levels = [self._patches_of(tokens[i]) for i in local_blocks(self.spec.layers)]
        local = local_tokens(levels, places, self.spec.norm_eps)
        patches = self._project(self._patches_of(x))
        if mask is None:
            patches, local = (part.view(len(x), grid, grid, -1) for part in (patches, local))
        return Dense(embedding, patches, local)

    def _tokens(self, pixels: Tensor, mask: Tensor | None, shapes: Tensor | None) -> Iterator[Tensor]:
        """Tokens [n, l, w] before the first block and after each."""
        x = self._embed_patches(pixels, shapes)
        if self.spec.pre_norm:
            x = self.pre_norm(x)
        hidden = None if mask is None else key_mask(mask, x.dtype)
        yield x
        for block in self.blocks:
            x = run(block, x, hidden, recompute=self.recompute)
            yield x

    def _patches_of(self, x: Tensor) -> Tensor:
        """[n, l, w] without the class token."""
        return x[:, 1:] if self.spec.class_token else x

    def _project(self, x: Tensor) -> Tensor:
        return self.projection(x) if self.spec.projection else x

    def _embed_patches(self, pixels: Tensor, shapes: Tensor | None) -> Tensor:
        if self.spec.naflex:
            if shapes is None:
                raise ValueError("a NaFlex tower needs `mask` and `shapes` beside the patches")
            assert isinstance(self.patch_embedding, nn.Conv2d)
            kernel = self.patch_embedding.weight.permute(0, 2, 3, 1).flatten(1)  # [w, p*p*3]
            x = F.linear(pixels, kernel, self.patch_embedding.bias)
            grid = self.position_embedding.view(self.spec.grid, self.spec.grid, -1)
            return x + resize_positions(grid, shapes, length=pixels.shape[1])
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)  # [n, grid*grid, w]
        if self.spec.class_token:
            x = torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], dim=1)
        return x + self.position_embedding

    def _pool(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.spec.pool == "cls":
            return x[:, 0]
        if self.spec.pool == "map":
            pooled: Tensor = self.pool(x, mask)
            return pooled
        return _mean(self._patches_of(x), mask)

    def _initialize(self) -> None:
        w = self.spec.width
        std = w**-0.5
        if self.spec.class_token:
            nn.init.normal_(self.class_embedding, std=std)
        nn.init.normal_(self.position_embedding, std=std)
        initialize_blocks(self.blocks, w, self.spec.layers)
        if self.spec.pool == "map":
            initialize_blocks([self.pool], w, self.spec.layers)
        if self.spec.projection:
            nn.init.normal_(self.projection.weight, std=std)


def _mean(patches: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return patches.mean(dim=1)
    real = mask[:, :, None].to(patches.dtype)
    return (patches * real).sum(dim=1) / real.sum(dim=1)


def resize_positions(grid: Tensor, shapes: Tensor, *, length: int) -> Tensor:
    """The position embedding resized to each picture's own rows and columns.

    Args:
        grid: [g, g, w].
        shapes: int [n, 2], rows and columns.
        length: patches per picture with padding; padding gets zeros, which the mask hides.

    Returns:
        [n, length, w].
    """
    channels_first = grid.permute(2, 0, 1)[None].float()
    resized = []
    for rows, columns in shapes.tolist():
        picture = F.interpolate(
            channels_first, size=(rows, columns), mode="bilinear", align_corners=False, antialias=True
        )
        picture = picture[0].flatten(1).T.to(grid.dtype)  # [rows*columns, w]
        resized.append(F.pad(picture, (0, 0, 0, length - rows * columns)))
    return torch.stack(resized)
