"""The text transformer: token ids → one vector.

Sources: CLIP (causal, pooled at the end-of-text token); SigLIP (every token sees all others, pooled
at the last position, which is always an end or padding token because texts are padded to full length).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anmok.models.modules.blocks import Block, initialize_blocks
from anmok.models.modules.recompute import Recomputed, run

if TYPE_CHECKING:
    from anmok.models.spec import TextSpec

__all__ = ["TextTransformer"]


class TextTransformer(Recomputed):
    """Token ids → vectors of the shared space."""

    def __init__(self, spec: TextSpec, dimension: int) -> None:
        super().__init__()
        w = spec.width
        self.spec = spec
        self.token_embedding = nn.Embedding(spec.vocabulary, w)
        self.position_embedding = nn.Parameter(torch.empty(spec.context_length, w))
        self.blocks = nn.ModuleList(
            Block(w, spec.heads, spec.mlp_width, spec.activation, spec.norm_eps) for _ in range(spec.layers)
        )
        self.norm = nn.LayerNorm(w, eps=spec.norm_eps)
        self.projection = nn.Linear(w, dimension, bias=spec.projection_bias)
        self._initialize()

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids int [n, l] → [n, d], not normalized.

        A causal tower pooled at the end of text does not see what comes after it, so `l` may be
        anything from the longest text of the batch up to `context_length`. SigLIP needs all
        `context_length` tokens.
        """
        return self.encode_words(self.token_embedding(ids), ids)

    def encode_words(self, words: Tensor, ids: Tensor) -> Tensor:
        """Embedded tokens [n, l, w], which may be learned ones, → [n, d]; `ids` [n, l] say where each text ends."""
        length = ids.shape[1]
        x = words + self.position_embedding[:length]  # [n, l, w]
        mask = causal_mask(length, x) if self.spec.causal else None
        for block in self.blocks:
            x = run(block, x, mask, recompute=self.recompute)
        x = self.norm(self._pool(x, ids))  # [n, w]
        y: Tensor = self.projection(x)
        return y

    def _pool(self, x: Tensor, ids: Tensor) -> Tensor:
        if self.spec.pool == "last":
            return x[:, -1]
        # The first end-of-text token. OpenAI's code takes the highest id: the same place, since
        # CLIP's end of text is the last entry of its vocabulary and argmax finds the first of equals.
        end = (ids == self.spec.eos_token).int().argmax(dim=1)
        return x[torch.arange(len(x), device=x.device), end]

    def _initialize(self) -> None:
        w = self.spec.width
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding, std=0.01)
        initialize_blocks(self.blocks, w, self.spec.layers)
        nn.init.normal_(self.projection.weight, std=w**-0.5)
        if self.spec.projection_bias:
            nn.init.zeros_(self.projection.bias)


def causal_mask(length: int, like: Tensor) -> Tensor:
    """[l, l]: what is added to attention scores so that a token sees itself and those before it."""
    hidden = torch.full((length, length), torch.finfo(like.dtype).min, dtype=like.dtype, device=like.device)
    return hidden.triu(diagonal=1)
