"""The plain convolutional networks equal torchvision's, weights copied in order."""

import math

import pytest
import torch
from torch import nn

from anmok.models.modules.cnn import ConvNet
from anmok.models.spec import CnnSpec

RESNETS = {
    "resnet18": CnnSpec("resnet", 64, (2, 2, 2, 2)),
    "resnet34": CnnSpec("resnet", 64, (3, 4, 6, 3)),
    "resnet50": CnnSpec("resnet", 64, (3, 4, 6, 3), bottleneck=True),
    "resnet101": CnnSpec("resnet", 64, (3, 4, 23, 3), bottleneck=True),
}
EFFICIENTNETS = {
    "efficientnet_b0": CnnSpec("efficientnet", 64, (1, 2, 2, 3, 3, 4, 1)),
    "efficientnet_b1": CnnSpec("efficientnet", 64, (2, 3, 3, 4, 4, 5, 2)),
    "efficientnet_b2": CnnSpec("efficientnet", 64, (2, 3, 3, 4, 4, 5, 2), width=1.1),
    "efficientnet_b3": CnnSpec("efficientnet", 64, (2, 3, 3, 5, 5, 6, 2), width=1.2),
}
VGGS = {
    "vgg11_bn": CnnSpec("vgg", 64, (1, 1, 2, 2, 2)),
    "vgg13_bn": CnnSpec("vgg", 64, (2, 2, 2, 2, 2)),
    "vgg16_bn": CnnSpec("vgg", 64, (2, 2, 3, 3, 3)),
    "vgg19_bn": CnnSpec("vgg", 64, (2, 2, 4, 4, 4)),
}
ALEXNET = {"alexnet": CnnSpec("alexnet", 96, (1, 1, 3))}
NETWORKS = RESNETS | EFFICIENTNETS | VGGS | ALEXNET


def reference(torchvision, name):
    """Torchvision's network up to its classifier, with random weights under which nothing fades or grows."""
    with torch.device("meta"):  # no start values: those of VGG's classifier alone would take seconds
        model = getattr(torchvision.models, name)(weights=None)
    features = nn.Sequential(*list(model.children())[:-2]) if name in RESNETS else model.features
    features = features.to_empty(device="cpu").eval()
    with torch.no_grad():
        for key, value in features.state_dict().items():
            if key.endswith("num_batches_tracked"):
                continue
            if key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.ndim == 4:
                gain = 1.0 if name in RESNETS else 1.4  # a ResNet's sums grow
                value.normal_(std=gain * value[0].numel() ** -0.5)
            else:
                value.normal_(std=0.1)
        for module in features.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.add_(1)
    return features


def copied(theirs, spec):
    """Ours with their weights, by their order alone. A bias before a batch norm goes into its running mean."""
    ours = ConvNet(spec, 8).eval()
    modules = [module for module in theirs.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    values = []
    for module, following in zip(modules, [*modules[1:], None], strict=True):
        values.append(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            values += [module.bias, module.running_mean - getattr(module, "taken", 0), module.running_var]
        elif module.bias is not None and isinstance(following, nn.BatchNorm2d):
            following.taken = module.bias
        elif module.bias is not None:
            values.append(module.bias)
    state = {name: value for name, value in ours.state_dict().items() if not name.startswith("projection")}
    with torch.no_grad():
        for mine, value in zip(state.values(), values, strict=True):
            mine.copy_(value.flatten(1) if mine.ndim == 2 else value)  # squeeze-excite: linear maps in ours
    return ours


@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_torchvision(torchvision, name):
    spec = NETWORKS[name]
    theirs = reference(torchvision, name)
    pixels = torch.randn(2, 3, spec.image_size, spec.image_size)
    with torch.inference_mode():
        expected = theirs(pixels).mean(dim=(2, 3))
        features = copied(theirs, spec).features(pixels)
    assert features.shape == expected.shape
    scale = expected.abs().max()
    assert 0.01 < scale < 1e4  # there is something to compare
    assert (expected[0] - expected[1]).abs().max() > 0.01 * scale
    torch.testing.assert_close(features / scale, expected / scale, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("spec", "channels", "side"),
    [
        (CnnSpec("resnet", 32, (2, 2, 2, 2), stem="small"), 512, 4),
        (CnnSpec("resnet", 64, (2, 2, 2, 2), width=0.5), 256, 2),
        (CnnSpec("vgg", 32, (1, 1, 2, 2, 2), stem="small", width=0.25), 128, 2),
        (CnnSpec("efficientnet", 32, (1, 2, 2, 3, 3, 4, 1), stem="small", width=0.5), 640, 2),
        (CnnSpec("alexnet", 32, (1, 1, 3), stem="small", width=0.25), 64, 7),
    ],
    ids=str,
)
def test_small_pictures_keep_a_map(spec, channels, side):
    net = ConvNet(spec, 8).eval()
    x = torch.randn(1, 3, spec.image_size, spec.image_size)
    with torch.inference_mode():
        for stage in net.stages:
            x = stage(x)
    assert x.shape == (1, channels, side, side)


def test_a_new_resnet_block_is_its_shortcut():
    net = ConvNet(CnnSpec("resnet", 32, (2, 1, 1, 1), width=0.125), 8)
    x = torch.rand(2, 8, 6, 6)
    assert torch.equal(net.stages[1][0](x), x)


@pytest.mark.parametrize("spec", [CnnSpec("alexnet", 96, (1, 1, 3)), CnnSpec("vgg", 64, (1, 1, 2, 2, 2))], ids=str)
def test_new_weights_let_the_picture_through(spec):
    """Five to eight layers deep, the features are neither gone nor grown."""
    net = ConvNet(spec, 8)
    x = torch.randn(4, 3, spec.image_size, spec.image_size)
    with torch.no_grad():
        for stage in net.stages:
            x = stage(x)
    assert 0.1 < x.std() < 10


def test_start_values_are_those_of_he_and_torchvision():
    net = ConvNet(CnnSpec("vgg", 64, (1, 1, 2, 2, 2)), 8)
    conv = net.stages[3][1].conv  # 512 → 512, 3x3
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (512 * 9)), rel=0.02)
    assert conv.bias is None
    assert net.projection.bias is None
    assert net.projection.weight.std().item() == pytest.approx(512**-0.5, rel=0.05)
