"""A bag of words: the plainest text encoder there is, and a baseline for the others.

Source: CLIP (Radford et al. 2021), figure 3: "text_encoder - CBOW or Text Transformer"; CBOW after Mikolov
et al. 2013 (arXiv 1301.3781).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from anmok.models.spec import BagSpec

__all__ = ["BagOfWords", "words_of"]


class BagOfWords(nn.Module):
    """Token ids → vectors of the shared space. Start values as the text transformer's."""

    def __init__(self, spec: BagSpec, dimension: int) -> None:
        super().__init__()
        self.spec = spec
        self.token_embedding = nn.Embedding(spec.vocabulary, spec.width)
        self.norm = nn.LayerNorm(spec.width, eps=spec.norm_eps)
        self.projection = nn.Linear(spec.width, dimension, bias=False)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.projection.weight, std=spec.width**-0.5)

    def forward(self, ids: Tensor) -> Tensor:
        """Token ids int [n, l] → [n, d], not normalized. Padding, however much, changes nothing."""
        return self.encode_words(self.token_embedding(ids), ids)

    def encode_words(self, words: Tensor, ids: Tensor) -> Tensor:
        """Embedded tokens [n, l, w], which may be learned ones, → [n, d]; `ids` [n, l] say which of them count."""
        counted = words_of(ids, self.spec)[:, :, None].to(words.dtype)
        y: Tensor = self.projection(self.norm((words * counted).sum(dim=1) / counted.sum(dim=1)))
        return y


def words_of(ids: Tensor, spec: BagSpec) -> Tensor:
    """Which tokens [n, l] are words: those between the start and the first end of text.

    Of a text without words it is the end-of-text token, so that the empty text has a vector, too.
    """
    place = torch.arange(ids.shape[1], device=ids.device)
    first = int(spec.start_of_text)
    end = (ids == spec.eos_token).int().argmax(dim=1, keepdim=True)
    return (place >= first) & (place < end.clamp(min=first + 1))
