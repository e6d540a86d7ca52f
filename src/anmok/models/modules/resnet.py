"""CLIP's ResNet (Radford et al. 2021, section 2.4): three convolutions at the stem, an average
pool before every stride so that nothing aliases, and attention in place of the last average pool.

Source: CLIP's `ModifiedResNet`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

from anmok.models.dense import RESNET_STAGES
from anmok.models.modules.convolution import BatchNorm
from anmok.models.modules.dense import Dense, local_maps
from anmok.models.modules.pool import AttentionPool
from anmok.models.modules.recompute import Recomputed, last, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.models.spec import ResNetSpec

__all__ = ["BatchNorm", "Bottleneck", "ModifiedResNet"]


class ModifiedResNet(Recomputed):
    """Pictures → vectors of the shared space, with convolutions."""

    def __init__(self, spec: ResNetSpec, dimension: int) -> None:
        super().__init__()
        self.stem = Stem(spec.width)
        inputs = spec.width
        self.stages = nn.ModuleList()
        for i, depth in enumerate(spec.layers):
            planes = spec.width * 2**i
            stage = nn.ModuleList([Bottleneck(inputs, planes, stride=1 if i == 0 else 2, shortcut=True)])
            stage.extend(Bottleneck(planes * 4, planes) for _ in range(depth - 1))
            self.stages.append(stage)
            inputs = planes * 4
        self.pool = AttentionPool(spec.grid, spec.features, spec.heads, dimension)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalized pixels [n, 3, h, w] → [n, d], not normalized."""
        y: Tensor = self.pool(last(self._maps(pixels)))  # from [n, 32c, h/32, w/32]
        return y

    def dense(self, pixels: Tensor) -> Dense:
        """Normalized pixels [n, 3, h, w] → the embedding, and what each place is."""
        maps = list(self._maps(pixels))
        fine, coarse = RESNET_STAGES
        return Dense(self.pool(maps[-1]), self.pool.each(maps[-1]), local_maps(maps[fine], maps[coarse]))

    def _maps(self, pixels: Tensor) -> Iterator[Tensor]:
        """The feature map after each stage."""
        x = run(self.stem, pixels, recompute=self.recompute)  # [n, c, h/4, w/4]
        for stage in self.stages:
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                x = run(block, x, recompute=self.recompute)
            yield x


class Stem(nn.Module):
    """Three convolutions and an average pool: a quarter of the size, `width` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.norm1 = BatchNorm(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.norm2 = BatchNorm(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.norm3 = BatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 3, h, w] → [n, c, h/4, w/4]."""
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = F.relu(self.norm3(self.conv3(x)))
        return F.avg_pool2d(x, 2)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut. A stride is an average pool before a convolution."""

    def __init__(self, inputs: int, planes: int, *, stride: int = 1, shortcut: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.norm1 = BatchNorm(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.norm2 = BatchNorm(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.norm3 = BatchNorm(planes * 4)
        self.shortcut = Shortcut(inputs, planes * 4) if shortcut else None
        nn.init.zeros_(self.norm3.weight)  # a new block starts as its shortcut, as in CLIP

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] → [n, 4 * planes, h / stride, w / stride]."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(_shrink(y, self.stride)))
        if self.shortcut is not None:
            x = self.shortcut(_shrink(x, self.stride))
        return F.relu(x + y)


class Shortcut(nn.Module):
    """A 1x1 convolution that gives the shortcut the width of the block's output."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[n, inputs, h, w] → [n, outputs, h, w]."""
        y: Tensor = self.norm(self.conv(x))
        return y


def _shrink(x: Tensor, stride: int) -> Tensor:
    return F.avg_pool2d(x, stride) if stride > 1 else x
