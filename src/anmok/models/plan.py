"""Plain convolutional networks as data: what each architecture is made of, layer by layer.

A plan is a list of stages, each a list of small records. `modules/cnn.py` makes PyTorch modules of
them, `graphs/cnn.py` ONNX nodes and `shapes.py` names, all by the same places: the layer j of stage
i is `stages.i.j`. The first stage is the stem.

The classifiers that these networks end in are replaced by global average pooling (Lin et al. 2013,
arXiv 1312.4400) and one linear map. ResNet and EfficientNet pool anyway. VGG and AlexNet have three fully
connected layers, which hold 9 of 10 of their weights, tie them to one picture size, and overfit little data.

Sources, with widths and strides as in torchvision 0.28:
    ResNet        He et al. 2015, arXiv 1512.03385, table 1; the stride is in the 3x3 convolution (v1.5, `resnet.py`)
    EfficientNet  Tan and Le 2019, arXiv 1905.11946, table 1; MBConv with squeeze-excite (`efficientnet.py`)
    VGG           Simonyan and Zisserman 2014, arXiv 1409.1556, table 1, with batch norm (`vgg.py`)
    AlexNet       Krizhevsky 2014, arXiv 1404.5997, one tower (`alexnet.py`)
    small stems   He et al. 2015, section 4.2: pictures of 32 pixels start with one 3x3 convolution of stride 1
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.models.spec import CnnSpec, HybridSpec

__all__ = [
    "Convolution",
    "Layer",
    "MaxPool",
    "Plan",
    "Residual",
    "Squeeze",
    "channels_of",
    "hybrid_stem",
    "plan",
    "plan_problems",
    "sides",
    "strides",
]


@dataclass(frozen=True)
class Convolution:
    """A convolution with batch norm, or with a bias where there is none, and an activation. Padded to keep the size."""

    inputs: int
    outputs: int
    side: int  # of the kernel
    stride: int = 1
    groups: int = 1
    norm: bool = True
    activation: Literal["none", "relu", "silu"] = "relu"
    padding: int | None = None  # where it is not half a kernel

    @property
    def pad(self) -> int:
        """Zeros on each side."""
        return self.side // 2 if self.padding is None else self.padding


@dataclass(frozen=True)
class MaxPool:
    """The largest of each window."""

    side: int
    stride: int
    pad: int = 0


@dataclass(frozen=True)
class Squeeze:
    """Squeeze-and-excitation (Hu et al. 2017, arXiv 1709.01507): the whole picture scales each channel by 0..1."""

    width: int
    hidden: int


@dataclass(frozen=True)
class Residual:
    """Layers beside a shortcut, which is a convolution where width or size change."""

    body: tuple[Layer, ...]
    shortcut: Convolution | None = None
    activation: Literal["none", "relu"] = "none"  # of the sum


Layer = Convolution | MaxPool | Squeeze | Residual
Stage = tuple[Layer, ...]
Plan = tuple[Stage, ...]

# EfficientNet-B0: how much a block widens inside, kernel, stride of the first block, channels.
EFFICIENTNET = (
    (1, 3, 1, 16),
    (6, 3, 2, 24),
    (6, 5, 2, 40),
    (6, 3, 2, 80),
    (6, 5, 1, 112),
    (6, 5, 2, 192),
    (6, 3, 1, 320),
)
STAGES = {"resnet": 4, "efficientnet": 7, "vgg": 5, "alexnet": 3}  # counts in `layers`


def plan(spec: CnnSpec) -> Plan:
    """The stages of a network, from pixels [n, 3, h, w] to the last feature map."""
    makers = {"resnet": _resnet, "efficientnet": _efficientnet, "vgg": _vgg, "alexnet": _alexnet}
    return makers[spec.architecture](spec)


def hybrid_stem(spec: HybridSpec) -> tuple[Convolution, ...]:
    """The convolutions before a transformer, each halving the size; the 1x1 convolution after them is left out."""
    return tuple(Convolution(i, o, 3, stride=2) for i, o in zip((3, *spec.stem), spec.stem, strict=False))


def channels_of(stages: Plan) -> int:
    """Channels of the last feature map."""
    return next(channels for layer in reversed(stages[-1]) if (channels := _outputs(layer)))


def sides(stages: Plan, image_size: int) -> list[int]:
    """Cells along one side of the feature map after each stage; 0 where a window no longer fits."""
    side, found = image_size, []
    for stage in stages:
        for layer in _windows(stage):
            side = max((side + 2 * layer.pad - layer.side) // layer.stride + 1, 0)
        found.append(side)
    return found


def strides(stages: Plan) -> list[int]:
    """Pixels of the picture from one cell to the next, after each stage."""
    stride, found = 1, []
    for stage in stages:
        stride *= math.prod(layer.stride for layer in _windows(stage))
        found.append(stride)
    return found


def plan_problems(spec: CnnSpec) -> list[str]:
    """What is wrong with a spec whose numbers are all positive."""
    count = STAGES[spec.architecture]
    if len(spec.layers) != count:
        return [f"{spec.architecture} has {count} stages, not {len(spec.layers)}"]
    rules = [
        (spec.architecture == "alexnet" and spec.layers != (1, 1, 3), f"AlexNet has layers 1, 1, 3, not {spec.layers}"),
        (spec.bottleneck and spec.architecture != "resnet", f"{spec.architecture} has no bottleneck blocks"),
        (
            sides(plan(spec), spec.image_size)[-1] < 1,
            f"pictures of {spec.image_size} pixels are too small for this picture tower",
        ),
    ]
    return [problem for broken, problem in rules if broken]


def _windows(stage: Stage) -> Iterator[Convolution | MaxPool]:
    """The layers that look at more than a cell or skip some, shortcuts left out."""
    for layer in stage:
        for inner in layer.body if isinstance(layer, Residual) else (layer,):
            if isinstance(inner, Convolution | MaxPool):
                yield inner


def _outputs(layer: Layer) -> int:
    """Channels that come out of a layer, or 0 where it has no say in them."""
    if isinstance(layer, Residual):
        return next(channels for inner in reversed(layer.body) if (channels := _outputs(inner)))
    return layer.outputs if isinstance(layer, Convolution) else 0


def _channels(published: float, width: float = 1.0) -> int:
    """The nearest multiple of 8, but no less than 9 tenths of what is asked for: torchvision's `_make_divisible`."""
    wanted = published * width
    channels = max(8, int(wanted + 4) // 8 * 8)
    return channels if channels >= 0.9 * wanted else channels + 8


def _resnet(spec: CnnSpec) -> Plan:
    width = _channels(64, spec.width)
    small = spec.stem == "small"
    stem: Stage = (Convolution(3, width, 3),) if small else (Convolution(3, width, 7, stride=2), MaxPool(3, 2, pad=1))
    stages, inputs = [stem], width
    for i, depth in enumerate(spec.layers):
        stage = []
        for block in range(depth):
            stride = 2 if i > 0 and block == 0 else 1
            stage.append(_resnet_block(inputs, width * 2**i, stride, bottleneck=spec.bottleneck))
            inputs = width * 2**i * (4 if spec.bottleneck else 1)
        stages.append(tuple(stage))
    return tuple(stages)


def _resnet_block(inputs: int, planes: int, stride: int, *, bottleneck: bool) -> Residual:
    outputs = planes * 4 if bottleneck else planes
    body: Stage
    if bottleneck:
        middle = Convolution(planes, planes, 3, stride=stride)
        body = (Convolution(inputs, planes, 1), middle, Convolution(planes, outputs, 1, activation="none"))
    else:
        body = (Convolution(inputs, planes, 3, stride=stride), Convolution(planes, planes, 3, activation="none"))
    changes = stride > 1 or inputs != outputs
    shortcut = Convolution(inputs, outputs, 1, stride=stride, activation="none") if changes else None
    return Residual(body, shortcut, activation="relu")


def _efficientnet(spec: CnnSpec) -> Plan:
    inputs = _channels(32, spec.width)
    stem = Convolution(3, inputs, 3, stride=1 if spec.stem == "small" else 2, activation="silu")
    stages: list[Stage] = [(stem,)]
    for (widens, side, first_stride, published), depth in zip(EFFICIENTNET, spec.layers, strict=True):
        stage: list[Layer] = []
        for block in range(depth):
            outputs = _channels(published, spec.width)
            stage.extend(_mbconv(inputs, outputs, widens, side, first_stride if block == 0 else 1))
            inputs = outputs
        stages.append(tuple(stage))
    stages.append((Convolution(inputs, 4 * inputs, 1, activation="silu"),))
    return tuple(stages)


def _mbconv(inputs: int, outputs: int, widens: int, side: int, stride: int) -> Stage:
    """Widen, look around in each channel, squeeze and excite, narrow; beside a shortcut where the shape stays."""
    hidden = _channels(inputs * widens)
    body: Stage = (
        Convolution(hidden, hidden, side, stride=stride, groups=hidden, activation="silu"),
        Squeeze(hidden, max(1, inputs // 4)),
        Convolution(hidden, outputs, 1, activation="none"),
    )
    if hidden != inputs:
        body = (Convolution(inputs, hidden, 1, activation="silu"), *body)
    return (Residual(body),) if stride == 1 and inputs == outputs else body


def _vgg(spec: CnnSpec) -> Plan:
    stages, inputs = [], 3
    for i, (depth, published) in enumerate(zip(spec.layers, (64, 128, 256, 512, 512), strict=True)):
        outputs = _channels(published, spec.width)
        stage: list[Layer] = [Convolution(inputs if j == 0 else outputs, outputs, 3) for j in range(depth)]
        if i > 0 or spec.stem == "large":
            stage.append(MaxPool(2, 2))
        stages.append(tuple(stage))
        inputs = outputs
    return tuple(stages)


def _alexnet(spec: CnnSpec) -> Plan:
    a, b, c, d, e = (_channels(published, spec.width) for published in (64, 192, 384, 256, 256))
    small, pool = spec.stem == "small", MaxPool(3, 2)
    first = Convolution(3, a, 3, norm=False) if small else Convolution(3, a, 11, stride=4, padding=2, norm=False)
    return (
        (first,) if small else (first, pool),
        (Convolution(a, b, 5, norm=False), pool),
        (
            Convolution(b, c, 3, norm=False),
            Convolution(c, d, 3, norm=False),
            Convolution(d, e, 3, norm=False),
            pool,
        ),
    )
