import math

import pytest

from anmok.models.plan import Convolution, MaxPool, Residual, Squeeze, channels_of, plan
from anmok.models.shapes import cnn
from anmok.models.spec import CnnSpec

B0 = (1, 2, 2, 3, 3, 4, 1)

# Parameters as torchvision 0.28 prints them, without the classifier (and VGG's biases before batch norms).
PUBLISHED = {
    "resnet18": (CnnSpec("resnet", 224, (2, 2, 2, 2)), 11_689_512 - 513_000),
    "resnet34": (CnnSpec("resnet", 224, (3, 4, 6, 3)), 21_797_672 - 513_000),
    "resnet50": (CnnSpec("resnet", 224, (3, 4, 6, 3), bottleneck=True), 25_557_032 - 2_049_000),
    "resnet101": (CnnSpec("resnet", 224, (3, 4, 23, 3), bottleneck=True), 44_549_160 - 2_049_000),
    "efficientnet_b0": (CnnSpec("efficientnet", 224, B0), 5_288_548 - 1_281_000),
    "efficientnet_b3": (CnnSpec("efficientnet", 300, (2, 3, 3, 5, 5, 6, 2), 1.2), 12_233_232 - 1_537_000),
    "alexnet": (CnnSpec("alexnet", 224, (1, 1, 3)), 61_100_840 - (9217 * 4096 + 4097 * 4096 + 4097 * 1000)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_as_published(name):
    spec, expected = PUBLISHED[name]
    shapes = cnn(spec, 1).items()
    counted = sum(math.prod(shape) for key, shape in shapes if ".running_" not in key and "projection" not in key)
    assert counted == expected


@pytest.mark.parametrize("width", [0.125, 0.3, 0.5, 1.0, 1.1, 1.2, 2.0])
@pytest.mark.parametrize(
    ("architecture", "layers", "published"),
    [
        ("resnet", (2, 2, 2, 2), 512),
        ("efficientnet", B0, 1280),
        ("vgg", (1, 1, 2, 2, 2), 512),
        ("alexnet", (1, 1, 3), 256),
    ],
)
def test_widths_are_scaled_to_multiples_of_8(architecture, layers, published, width):
    stages = plan(CnnSpec(architecture, 224, layers, width))
    channels = channels_of(stages)
    assert channels % 8 == 0
    assert channels == pytest.approx(published * width, abs=4 * published / 32)  # rounding of the narrowest, carried on
    for layer in flat(stages):
        if isinstance(layer, Convolution):
            assert layer.outputs % 8 == 0


def test_every_layer_takes_what_the_one_before_gives():
    for spec, _ in PUBLISHED.values():
        channels = 3
        for layer in (layer for stage in plan(spec) for layer in stage):
            if isinstance(layer, Residual):
                inside = [inner for inner in layer.body if isinstance(inner, Convolution)]
                assert inside[0].inputs == channels
                assert layer.shortcut is not None or inside[-1].outputs == channels
                channels = inside[-1].outputs
            elif isinstance(layer, Squeeze):
                assert layer.width == channels
            elif isinstance(layer, Convolution):
                assert layer.inputs == channels
                channels = layer.outputs


def test_small_stems_shrink_nothing():
    for architecture, layers in (
        ("resnet", (2, 2, 2, 2)),
        ("efficientnet", B0),
        ("vgg", (1, 1, 2, 2, 2)),
        ("alexnet", (1, 1, 3)),
    ):
        stem = plan(CnnSpec(architecture, 32, layers, stem="small"))[0]
        assert [(layer.side, layer.stride) for layer in stem] == [(3, 1)]


def test_the_stride_of_a_bottleneck_is_in_its_3x3_convolution():
    block = plan(CnnSpec("resnet", 224, (1, 1, 1, 1), bottleneck=True))[2][0]
    assert [(layer.side, layer.stride) for layer in block.body] == [(1, 1), (3, 2), (1, 1)]


def test_vgg_has_five_pools_and_alexnet_three():
    for spec, pools in ((CnnSpec("vgg", 32, (2, 2, 4, 4, 4)), 5), (CnnSpec("alexnet", 224, (1, 1, 3)), 3)):
        assert sum(isinstance(layer, MaxPool) for layer in flat(plan(spec))) == pools


def flat(stages):
    for stage in stages:
        for layer in stage:
            yield from layer.body if isinstance(layer, Residual) else (layer,)
