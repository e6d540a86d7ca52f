import math
from dataclasses import replace

import pytest

from anmok.errors import CheckpointError
from anmok.models.modules import DualEncoder
from anmok.models.spec import weight_shapes


def test_weight_shapes_are_the_state_dict(spec):
    state = DualEncoder(spec).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == weight_shapes(spec)


def test_only_sigmoid_models_have_a_logit_bias(spec):
    assert ("logit_bias" in weight_shapes(spec)) == (spec.score == "sigmoid")


def test_positions_count_the_class_token(specs):
    assert specs["clip vit"].image.positions == 4 * 4 + 1
    assert specs["siglip"].image.positions == 4 * 4


@pytest.mark.parametrize(
    ("tower", "changes", "message"),
    [
        ("image", {"heads": 5}, "5 heads do not divide the picture tower's width 32"),
        ("text", {"heads": 7}, "7 heads do not divide the text tower's width 48"),
        ("image", {"image_size": 7}, "pictures of 7 pixels are too small"),
        ("image", {"class_token": False}, "pools a class token that it has not"),
        ("image", {"projection": False}, "width 32 must be the dimension 24"),
        ("image", {"naflex": True}, "a NaFlex tower has no class token"),
        ("image", {"patch_size": 0}, "image.patch_size is 0"),
        ("text", {"layers": 0}, "text.layers is 0"),
        ("text", {"vocabulary": -1}, "text.vocabulary is -1"),
        ("text", {"eos_token": -1}, "text.eos_token is -1"),
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(specs, tower, changes, message):
    spec = specs["clip vit"]
    with pytest.raises(CheckpointError, match=message):
        replace(spec, **{tower: replace(getattr(spec, tower), **changes)})


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet", {"layers": (1, 1, 1)}, "resnet has 4 stages, not 3"),
        ("resnet", {"layers": (1, 1, 0, 1)}, "image.layers.2 is 0"),
        ("resnet", {"width": 0}, "image.width is 0.0"),
        ("resnet", {"width": math.nan}, "image.width is nan"),
        ("resnet", {"width": math.inf}, "image.width is inf"),
        ("vgg", {"bottleneck": True}, "vgg has no bottleneck blocks"),
        ("vgg", {"image_size": 31}, "pictures of 31 pixels are too small"),
        ("alexnet", {"image_size": 62}, "pictures of 62 pixels are too small"),
        ("alexnet", {"layers": (1, 1, 2)}, "AlexNet has layers 1, 1, 3"),
        ("hybrid", {"stem": ()}, "no convolutions before it"),
        ("hybrid", {"stem": (8, 0)}, "image.stem.1 is 0"),
        ("hybrid", {"heads": 5}, "5 heads do not divide the picture tower's width 32"),
        ("hybrid", {"image_size": 36}, "pictures of 36 pixels are no whole number of patches of 8"),
        ("hybrid", {"image_size": 4}, "pictures of 4 pixels are too small"),
        ("clip vit", {"norm_eps": -1e-5}, "image.norm_eps is -1e-05"),
    ],
)
def test_towers_that_cannot_be_are_refused(specs, name, changes, message):
    spec = specs[name]
    with pytest.raises(CheckpointError, match=message):
        replace(spec, image=replace(spec.image, **changes))


def test_equal_specs_are_written_alike(specs):
    image = specs["resnet"].image
    assert repr(replace(image, width=1)) == repr(replace(image, width=1.0))


def test_all_problems_are_told_at_once(specs):
    spec = specs["clip vit"]
    with pytest.raises(CheckpointError, match=r"5 heads .*; 7 heads"):
        replace(spec, image=replace(spec.image, heads=5), text=replace(spec.text, heads=7))
