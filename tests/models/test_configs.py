import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.errors import CheckpointError
from anmok.models.configs import spec_from_dict, spec_to_dict
from anmok.models.sizes import SIZES
from anmok.models.spec import DualSpec, weight_shapes


def test_every_kind_comes_back(spec):
    again = spec_from_dict(json.loads(json.dumps(spec_to_dict(spec))), "config.json")
    assert again == spec
    assert repr(again) == repr(spec)  # 1 and 1.0 are equal, and yet give two fingerprints


@pytest.mark.parametrize("name", SIZES)
def test_every_size_comes_back(name):
    assert spec_from_dict(json.loads(json.dumps(spec_to_dict(SIZES[name]))), name) == SIZES[name]


def test_the_kind_comes_first(specs):
    config = spec_to_dict(specs["hybrid"])
    assert list(config["image"])[:2] == ["kind", "image_size"]
    assert config["image"]["stem"] == [8, 16, 24]


def test_fields_with_a_default_may_be_left_out(specs):
    config = spec_to_dict(specs["resnet"])
    for name in ("bottleneck", "stem"):
        del config["image"][name]
    assert spec_from_dict(config, "x") == specs["resnet"]
    config["image"]["width"] = 1
    assert isinstance(spec_from_dict(config, "x").image.width, float)


def edit(config, path, value):
    config = copy.deepcopy(config)
    *parents, last = path.split(".")
    place = config
    for part in parents:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("image.widht", 3, "image.widht is no field. Did you mean 'width'?"),
        ("dimensions", 3, "dimensions is no field. Did you mean 'dimension'?"),
        ("image.layers", ..., "image.layers is missing"),
        ("text", ..., "text is missing"),
        ("text", [1], "text is [1], expected an object"),
        ("text.kind", "bags", "text.kind is 'bags', expected one of transformer, bag. Did you mean 'bag'?"),
        ("image.kind", ..., "image.kind is None, expected one of vit, modified_resnet, cnn, hybrid"),
        ("image.kind", ["cnn"], "image.kind is ['cnn'], expected one of"),
        ("image.layers", 3, "image.layers is 3, expected a list of one or more whole numbers"),
        ("image.layers", [], "image.layers is [], expected a list"),
        ("image.layers", [1] * 65, "expected a list"),
        ("image.layers", [1, 1, 10**6, 1], "image.layers.2 is 1000000, expected a whole number up to 1,000"),
        ("image.bottleneck", 1, "image.bottleneck is 1, expected true or false"),
        ("image.width", "wide", "image.width is 'wide', expected a number"),
        ("image.width", True, "image.width is True, expected a number"),
        ("image.width", float("nan"), "image.width is nan, expected a number"),
        ("image.stem", "huge", "image.stem is 'huge', expected one of large, small"),
        ("image.image_size", 10**9, "image.image_size is 1000000000, expected a whole number up to 10,000,000"),
        ("image.image_size", 64.0, "image.image_size is 64.0, expected a whole number"),
        ("text.layers", 10**9, "text.layers is 1000000000, expected a whole number up to 1,000"),
        ("text.causal", None, "text.causal is None, expected true or false"),
        ("score", "hinge", "score is 'hinge', expected one of softmax, sigmoid"),
        ("text.heads", 5, "makes no sense: 5 heads do not divide"),
    ],
)
def test_a_problem_is_named(specs, path, value, message):
    config = edit(spec_to_dict(specs["resnet"]), path, value)
    with pytest.raises(CheckpointError) as error:
        spec_from_dict(config, "folder/anmok_config.json")
    assert str(error.value).startswith("folder/anmok_config.json cannot be used: ")
    assert message in str(error.value)


def test_all_problems_are_named_at_once(specs):
    config = spec_to_dict(specs["resnet"])
    for path, value in (("image.widht", 1), ("text.kind", "x"), ("score", 7), ("dimension", "24")):
        config = edit(config, path, value)
    with pytest.raises(CheckpointError, match=r"image.widht is .*; text.kind is .*; dimension is .*; score is "):
        spec_from_dict(config, "x")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data(), value=JSON)
def test_whatever_stands_there_is_a_model_or_a_checkpoint_error(specs, data, value):
    config = spec_to_dict(
        specs[data.draw(st.sampled_from(["clip vit", "resnet", "hybrid", "clip resnet", "bag of words"]))]
    )
    tower = data.draw(st.sampled_from(["image", "text"]))
    paths = [*config, *(f"{tower}.{name}" for name in config[tower])]
    try:
        spec = spec_from_dict(edit(config, data.draw(st.sampled_from(paths)), value), "x")
    except CheckpointError:
        return
    assert isinstance(spec, DualSpec)
    assert weight_shapes(spec)


@given(value=JSON)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_anything_else_is_a_checkpoint_error(value):
    with pytest.raises(CheckpointError, match="x cannot be used"):
        spec_from_dict(value, "x")
