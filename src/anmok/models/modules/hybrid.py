"""A vision transformer that starts with convolutions: smoother training, and more from little data.

A patch embedding is one large convolution of stride p, the odd one out among transformers' gentle layers. A few
3x3 convolutions of stride 2 and a 1x1 convolution make the same grid of tokens.

Sources: Early Convolutions Help Transformers See Better (Xiao et al. 2021, arXiv 2106.14881, section 4); Compact
Transformers (Hassani et al. 2021, arXiv 2104.05704), for small data sets; torchvision's `ConvStemConfig`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from anmok.models.modules.convolution import Convolution
from anmok.models.modules.recompute import Recomputed, run
from anmok.models.modules.vit import VisionTransformer
from anmok.models.plan import hybrid_stem

if TYPE_CHECKING:
    from anmok.models.spec import HybridSpec

__all__ = ["ConvStem", "HybridTransformer"]


class HybridTransformer(VisionTransformer):
    """Pictures → vectors of the shared space: the transformer of `vit.py` with a `ConvStem` to embed its patches."""

    def __init__(self, spec: HybridSpec, dimension: int) -> None:
        super().__init__(spec.vit, dimension, patch_embedding=ConvStem(spec))


class ConvStem(Recomputed):
    """Pixels → one token per patch. Start values: normal, √(2 / outputs) for the last as in torchvision."""

    def __init__(self, spec: HybridSpec) -> None:
        super().__init__()
        self.stem = nn.Sequential(*(Convolution(layer) for layer in hybrid_stem(spec)))
        self.projection = nn.Conv2d(spec.stem[-1], spec.width, 1)
        nn.init.normal_(self.projection.weight, std=(2 / spec.width) ** 0.5)
        assert self.projection.bias is not None
        nn.init.zeros_(self.projection.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        """[n, 3, h, w] → [n, w, h/p, w/p]."""
        y: Tensor = self.projection(run(self.stem, pixels, recompute=self.recompute))
        return y
