"""Plain convolutional networks, made from the plans of `models/plan.py`: ResNet, EfficientNet, VGG, AlexNet.

CLIP-style training ends them as it ends its own ResNet and vision transformer: one linear map without bias
into the shared space, here after global average pooling. `plan.py` names the papers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from anmok.models import plan
from anmok.models.dense import local_stages
from anmok.models.modules.convolution import Convolution, activate
from anmok.models.modules.dense import Dense, local_maps
from anmok.models.modules.recompute import Recomputed, last, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.models.spec import CnnSpec

__all__ = ["ConvNet", "Residual", "Squeeze"]


class ConvNet(Recomputed):
    """Pictures → vectors of the shared space.

    Start values: convolutions as in `convolution.py`; the last batch norm before a ResNet's sum at 0, so that a
    new block is its shortcut (Goyal et al. 2017, arXiv 1706.02677, section 5.1); the projection as CLIP's.
    """

    def __init__(self, spec: CnnSpec, dimension: int) -> None:
        super().__init__()
        self.spec = spec
        stages = plan.plan(spec)
        channels = plan.channels_of(stages)
        self.stages = nn.ModuleList(nn.Sequential(*map(_module, stage)) for stage in stages)
        self.projection = nn.Linear(channels, dimension, bias=False)
        nn.init.normal_(self.projection.weight, std=channels**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalized pixels [n, 3, h, w] → [n, d], not normalized."""
        y: Tensor = self.projection(self.features(pixels))
        return y

    def features(self, pixels: Tensor) -> Tensor:
        """Normalized pixels [n, 3, h, w] → [n, c]: what a classifier would see."""
        return last(self._maps(pixels)).mean(dim=(2, 3))

    def dense(self, pixels: Tensor) -> Dense:
        """Normalized pixels [n, 3, h, w] → the embedding, and what each place is. The mean of patches is the former."""
        maps = list(self._maps(pixels))
        fine, coarse = local_stages(self.spec)
        patches = self.projection(maps[-1].permute(0, 2, 3, 1))
        return Dense(self.projection(maps[-1].mean(dim=(2, 3))), patches, local_maps(maps[fine], maps[coarse]))

    def _maps(self, pixels: Tensor) -> Iterator[Tensor]:
        """The feature map after each stage."""
        x = pixels
        for stage in self.stages:
            x = run(stage, x, recompute=self.recompute)
            yield x


class Residual(nn.Module):
    """Layers beside a shortcut."""

    def __init__(self, layer: plan.Residual) -> None:
        super().__init__()
        self.body = nn.Sequential(*map(_module, layer.body))
        self.shortcut = Convolution(layer.shortcut) if layer.shortcut else None
        self.activation = layer.activation
        last = self.body[-1]
        if layer.activation == "relu" and isinstance(last, Convolution) and last.norm is not None:  # a ResNet's
            nn.init.zeros_(last.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] → [n, outputs, h / stride, w / stride]."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return activate(self.body(x) + shortcut, self.activation)


class Squeeze(nn.Module):
    """Squeeze-and-excitation: two linear maps of each channel's mean say how much of the channel stays."""

    def __init__(self, layer: plan.Squeeze) -> None:
        super().__init__()
        self.down = nn.Linear(layer.width, layer.hidden)
        self.up = nn.Linear(layer.hidden, layer.width)
        for linear in (self.down, self.up):  # 1x1 convolutions in torchvision, and so with their start values
            nn.init.kaiming_normal_(linear.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[n, c, h, w] → [n, c, h, w]."""
        share: Tensor = self.up(F.silu(self.down(x.mean(dim=(2, 3))))).sigmoid()  # [n, c]
        return x * share[:, :, None, None]


def _module(layer: plan.Layer) -> nn.Module:
    if isinstance(layer, plan.Convolution):
        return Convolution(layer)
    if isinstance(layer, plan.MaxPool):
        return nn.MaxPool2d(layer.side, layer.stride, layer.pad)
    return Squeeze(layer) if isinstance(layer, plan.Squeeze) else Residual(layer)
