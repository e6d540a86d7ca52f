import pytest

from anmok.models.layers import depth, layer_of
from anmok.models.modules import DualEncoder
from anmok.models.sizes import SIZES
from anmok.models.spec import weight_shapes


def layers(spec, tower):
    return [layer_of(name, spec) for name in weight_shapes(spec) if name.startswith(f"{tower}.")]


@pytest.mark.parametrize("tower", ["image", "text"])
def test_every_array_has_a_layer_and_they_only_go_deeper(spec, tower):
    found = layers(spec, tower)
    assert found == sorted(found)
    assert sorted(set(found)) == list(range(depth(spec, tower) + 1))


@pytest.mark.parametrize("name", SIZES)
def test_every_size_has_them(name):
    for tower in ("image", "text"):
        assert set(layers(SIZES[name], tower)) == set(range(depth(SIZES[name], tower) + 1))


def test_what_joins_the_towers_is_as_deep_as_the_deeper_one(specs):
    spec = SIZES["tiny-vit"]
    assert layer_of("logit_scale", spec) == 7
    assert layer_of("logit_bias", specs["siglip"]) == 3


@pytest.mark.parametrize(
    ("kind", "name", "layer"),
    [
        ("clip vit", "image.class_embedding", 0),
        ("clip vit", "image.pre_norm.weight", 0),
        ("clip vit", "image.blocks.1.mlp.up.bias", 2),
        ("clip vit", "image.norm.weight", 3),
        ("siglip", "image.pool.probe", 3),
        ("clip resnet", "image.stem.norm3.running_var", 0),
        ("clip resnet", "image.stages.0.0.conv1.weight", 1),
        ("clip resnet", "image.pool.position_embedding", 5),
        ("resnet", "image.stages.0.0.conv.weight", 0),
        ("resnet", "image.stages.4.0.shortcut.norm.weight", 4),
        ("resnet", "image.projection.weight", 5),
        ("efficientnet", "image.stages.8.0.conv.weight", 8),
        ("hybrid", "image.patch_embedding.stem.0.conv.weight", 0),
        ("hybrid", "image.patch_embedding.projection.weight", 0),
        ("bag of words", "text.token_embedding.weight", 0),
        ("bag of words", "text.projection.weight", 1),
    ],
)
def test_layers_of_some_arrays(specs, kind, name, layer):
    assert layer_of(name, specs[kind]) == layer


@pytest.mark.parametrize("name", ["image", "image.head.weight", "module.image.norm.weight", "text.blocks.x.y", ""])
def test_a_name_of_no_array_is_refused(specs, name):
    with pytest.raises(ValueError, match="is no array of a model"):
        layer_of(name, specs["clip vit"])


def test_parameters_of_the_modules_are_covered(spec):
    for name, _ in DualEncoder(spec).named_parameters():
        layer_of(name, spec)
