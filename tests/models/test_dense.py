"""Where local features are taken: the middle of every tower, at the strides of PatchCore where a tower has them."""

import pytest

from anmok.models.dense import dense_shapes, local_blocks, local_stages
from anmok.models.plan import plan, sides, strides
from anmok.models.sizes import SIZES
from anmok.models.spec import CnnSpec

NETWORKS = {
    "resnet": CnnSpec("resnet", 224, (2, 2, 2, 2)),
    "efficientnet": CnnSpec("efficientnet", 224, (1, 2, 2, 3, 3, 4, 1)),
    "vgg": CnnSpec("vgg", 224, (1, 1, 2, 2, 2)),
    "alexnet": CnnSpec("alexnet", 224, (1, 1, 3)),
}


@pytest.mark.parametrize(("name", "stages"), [("resnet", (2, 3)), ("efficientnet", (3, 5)), ("vgg", (2, 3)),
                                              ("alexnet", (0, 1))])  # fmt: skip
def test_large_networks_are_tapped_at_stride_8_and_16(name, stages):
    spec = NETWORKS[name]
    assert local_stages(spec) == stages
    assert [strides(plan(spec))[stage] for stage in stages] == [8, 16]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_for_small_pictures_are_tapped_as_deep(name):
    small = CnnSpec(name, 64, NETWORKS[name].layers, stem="small")
    assert local_stages(small) == local_stages(NETWORKS[name])


def test_sides_are_those_of_the_papers():
    assert sides(plan(NETWORKS["resnet"]), 224) == [56, 56, 28, 14, 7]
    assert sides(plan(NETWORKS["vgg"]), 224) == [112, 56, 28, 14, 7]


def test_blocks_are_in_the_middle_and_never_the_last():
    for layers in range(1, 50):
        blocks = local_blocks(layers)
        assert all(0 <= block < layers for block in blocks)
        assert blocks == tuple(sorted(set(blocks)))
    assert local_blocks(12) == (6, 9)


def test_shapes_of_known_models():
    assert dense_shapes(SIZES["ViT-B-32"]) == ((7, 7, 512), (7, 7, 1536))
    assert dense_shapes(SIZES["RN50-quickgelu"]) == ((7, 7, 1024), (28, 28, 512 + 1024))
