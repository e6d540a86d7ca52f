"""Two towers and one shared space: CLIP and SigLIP.

The model in the words of the CLIP paper (figure 3), whose lines are recognisable below:

    I_f = image_encoder(I)                      # pictures [n, h, w, c]
    T_f = text_encoder(T)                       # texts [n, l]
    I_e = l2_normalize(dot(I_f, W_i), axis=1)   # both in the shared space [n, d]
    T_e = l2_normalize(dot(T_f, W_t), axis=1)
    logits = dot(I_e, T_e.T) * exp(t)           # every picture with every text [n, n]

SigLIP (section 3.2) adds a bias `b` and reads each logit by itself, through a sigmoid.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok.models.modules.bag import BagOfWords
from anmok.models.modules.cnn import ConvNet
from anmok.models.modules.hybrid import HybridTransformer
from anmok.models.modules.recompute import Recomputed
from anmok.models.modules.resnet import ModifiedResNet
from anmok.models.modules.text import TextTransformer
from anmok.models.modules.vit import VisionTransformer
from anmok.models.spec import BagSpec, CnnSpec, HybridSpec, ResNetSpec
from anmok.models.weights import as_float32, check_weights

if TYPE_CHECKING:
    from anmok.models.modules.dense import Dense
    from anmok.models.spec import DualSpec, ImageSpec
    from anmok.models.weights import Weights

__all__ = ["DualEncoder", "from_weights"]


class DualEncoder(nn.Module):
    """A picture tower and a text tower that meet in one space.

    The names and shapes of its state dict are exactly `weight_shapes(spec)`.
    """

    text: BagOfWords | TextTransformer

    def __init__(self, spec: DualSpec) -> None:
        super().__init__()
        self.spec = spec
        self.image = _image_tower(spec.image, spec.dimension)
        if isinstance(spec.text, BagSpec):
            self.text = BagOfWords(spec.text, spec.dimension)
        else:
            self.text = TextTransformer(spec.text, spec.dimension)
        # Start values: temperature 0.07 in CLIP (section 2.5); t' = log 10 and b = -10 in SigLIP (section 3.2).
        self.logit_scale = nn.Parameter(torch.tensor(math.log(10 if spec.logit_bias else 1 / 0.07)))
        if spec.logit_bias:
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def forward(
        self, pixels: Tensor, ids: Tensor, *, mask: Tensor | None = None, shapes: Tensor | None = None
    ) -> Tensor:
        """Logits of every picture with every text [n_pictures, n_texts].

        Softmax over texts (CLIP) or a sigmoid each (SigLIP) makes them probabilities; `spec.score` says which.
        Arguments as in `encode_image` and `encode_text`.
        """
        pictures = F.normalize(self.encode_image(pixels, mask=mask, shapes=shapes), dim=-1)
        texts = F.normalize(self.encode_text(ids), dim=-1)
        logits = pictures @ texts.T * self.logit_scale.exp()
        return logits + self.logit_bias if self.spec.logit_bias else logits

    def encode_image(self, pixels: Tensor, *, mask: Tensor | None = None, shapes: Tensor | None = None) -> Tensor:
        """Normalized pixels float [n, 3, h, w] → [n, d], not yet of unit length.

        NaFlex: normalized patches [n, l, p*p*3], with `mask` [n, l] (true: real patch) and
        `shapes` int [n, 2] (rows, columns).
        """
        if mask is None and shapes is None:
            vectors: Tensor = self.image(pixels)
        else:
            vectors = self.image(pixels, mask, shapes)
        return vectors

    def encode_dense(self, pixels: Tensor, *, mask: Tensor | None = None, shapes: Tensor | None = None) -> Dense:
        """What `encode_image` takes → its embedding, and what each place of a picture is."""
        if isinstance(self.image, VisionTransformer):
            return self.image.dense(pixels, mask, shapes)
        return self.image.dense(pixels)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Token ids int [n, l] → [n, d], not yet of unit length."""
        vectors: Tensor = self.text(ids)
        return vectors

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Whether the backward pass computes blocks and stages again instead of keeping their insides.

        It takes a fraction of the memory and about a third more time. Outputs, gradients and the running
        statistics of batch norms stay the same.
        """
        for module in self.modules():
            if isinstance(module, Recomputed):
                module.recompute = enabled


def from_weights(spec: DualSpec, weights: Weights) -> DualEncoder:
    """The model of `spec` with these arrays (any float type, read-only ones too), in eval mode, in float32.

    Raises:
        WeightsMismatch: arrays are missing, unexpected or of another shape.
    """
    check_weights(spec, weights)
    with torch.device("meta"):  # no memory for start values that are replaced at once
        model = DualEncoder(spec)
    # A copy, because the arrays may be memory-mapped and read-only, and training changes them in place.
    arrays = {name: torch.tensor(as_float32(weights[name])) for name in model.state_dict()}
    model.load_state_dict(arrays, assign=True)
    return model.eval()


def _image_tower(spec: ImageSpec, dimension: int) -> ModifiedResNet | ConvNet | VisionTransformer:
    if isinstance(spec, ResNetSpec):
        return ModifiedResNet(spec, dimension)
    if isinstance(spec, CnnSpec):
        return ConvNet(spec, dimension)
    return HybridTransformer(spec, dimension) if isinstance(spec, HybridSpec) else VisionTransformer(spec, dimension)
