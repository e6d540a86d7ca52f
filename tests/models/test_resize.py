import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from anmok.errors import CheckpointError
from anmok.models.graphs import image_graph
from anmok.models.modules import from_weights
from anmok.models.resize import resize_image
from anmok.models.weights import check_weights


@pytest.fixture(scope="module")
def resize_pos_embed(torchvision):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from open_clip.model import resize_pos_embed

    return resize_pos_embed


def reference(resize_pos_embed, positions, grid):
    state = {"visual.positional_embedding": torch.tensor(positions)}
    resize_pos_embed(state, SimpleNamespace(visual=SimpleNamespace(grid_size=grid)))
    return state["visual.positional_embedding"].numpy()


@pytest.mark.parametrize(
    ("kind", "size", "grid", "name"),
    [
        ("clip vit", 56, 7, "image.position_embedding"),
        ("clip vit", 17, 2, "image.position_embedding"),
        ("clip vit", 8, 1, "image.position_embedding"),
        ("hybrid with a class token", 28, 7, "image.position_embedding"),
        ("clip resnet", 160, 5, "image.pool.position_embedding"),
        ("clip resnet", 32, 1, "image.pool.position_embedding"),
    ],
)
def test_positions_equal_open_clips(specs, random_weights, resize_pos_embed, kind, size, grid, name):
    spec, weights = specs[kind], random_weights(specs[kind])
    resized, changed = resize_image(weights, spec, size)
    check_weights(resized, changed)
    assert resized.image == replace(spec.image, image_size=size)
    expected = reference(resize_pos_embed, weights[name], grid)
    np.testing.assert_allclose(changed[name], expected, atol=1e-5, rtol=0)
    assert changed[name].dtype == np.float32
    assert all(changed[other] is weights[other] for other in weights if other != name)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(patches=st.integers(1, 20), seed=st.integers(0, 99))
def test_positions_without_a_class_token_equal_pytorchs(specs, random_weights, patches, seed):
    spec, weights = specs["siglip"], random_weights(specs["siglip"], seed)
    _, changed = resize_image(weights, spec, 8 * patches)
    grid = torch.tensor(weights["image.position_embedding"]).view(1, 4, 4, -1).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(patches, patches), mode="bicubic", antialias=True, align_corners=False)
    expected = expected.permute(0, 2, 3, 1).reshape(patches**2, -1)
    np.testing.assert_allclose(changed["image.position_embedding"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["clip vit", "siglip", "clip resnet", "hybrid", "vgg", "efficientnet"])
def test_the_model_of_another_size_runs_in_both_executors(
    specs, random_weights, random_pictures, normalization, run_graph, kind
):
    module = from_weights(specs[kind], random_weights(specs[kind]))
    spec, weights = resize_image(module, specs[kind], 96)
    pictures = random_pictures(spec, 2)
    with torch.inference_mode():
        expected = from_weights(spec, weights).encode_image(**pictures.modules).numpy()
    embedding = run_graph(image_graph(spec, weights, **normalization), pictures.feed)
    np.testing.assert_allclose(embedding, expected, atol=1e-5 * max(1, np.abs(expected).max() / 5), rtol=0)


def test_the_same_size_changes_nothing(specs, random_weights):
    weights = random_weights(specs["clip vit"])
    spec, changed = resize_image(weights, specs["clip vit"], specs["clip vit"].image.image_size)
    assert spec == specs["clip vit"]
    assert all(changed[name] is weights[name] for name in weights)


def test_half_precision_stays_half(specs, random_weights):
    halves = {name: array.astype(np.float16) for name, array in random_weights(specs["siglip"]).items()}
    assert resize_image(halves, specs["siglip"], 64)[1]["image.position_embedding"].dtype == np.float16


@pytest.mark.parametrize(
    ("kind", "size", "message"),
    [
        ("naflex", 64, "pictures of any size as it is"),
        ("clip vit", 7, "too small"),
        ("hybrid", 36, "no whole number of patches"),
        ("clip vit", 0, "image.image_size is 0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(specs, random_weights, kind, size, message):
    with pytest.raises(CheckpointError, match=message):
        resize_image(random_weights(specs[kind]), specs[kind], size)
