"""The graphs equal the modules, on every kind of model."""

import ml_dtypes
import numpy as np
import pytest
import torch

from anmok.models.graphs import image_graph, naflex_inputs, text_graph
from anmok.models.modules import from_weights

EXACT = 1e-5  # greatest difference, for embeddings of a size of up to 5; of larger ones, its share


def assert_equal(embedding, expected):
    np.testing.assert_allclose(embedding, expected, atol=EXACT * max(1, np.abs(expected).max() / 5), rtol=0)


@pytest.mark.parametrize("count", [1, 3])
def test_image_graph_equals_modules(spec, count, random_weights, random_pictures, normalization, run_graph):
    weights = random_weights(spec)
    pictures = random_pictures(spec, count)
    with torch.inference_mode():
        expected = from_weights(spec, weights).encode_image(**pictures.modules).numpy()
    embedding = run_graph(image_graph(spec, weights, **normalization), pictures.feed)
    assert embedding.dtype == np.float32
    assert embedding.shape == (count, spec.dimension)
    assert_equal(embedding, expected)


def test_random_towers_tell_pictures_apart(spec, random_weights, random_pictures):
    """Else the comparisons above would compare nothing."""
    with torch.inference_mode():
        embedding = from_weights(spec, random_weights(spec)).encode_image(**random_pictures(spec, 3).modules)
    spread = (embedding - embedding.mean(dim=0)).norm(dim=1) / embedding.norm(dim=1)
    assert spread.min() > 0.01


@pytest.mark.parametrize("count", [1, 3])
def test_text_graph_equals_modules(spec, count, random_weights, random_texts, run_graph):
    weights = random_weights(spec)
    model, graph = from_weights(spec, weights), text_graph(spec, weights)
    for length in (12, 7, 1) if spec.text.trims else (12,):
        ids = random_texts(spec, count, length=length)
        with torch.inference_mode():
            expected = model.encode_text(torch.tensor(ids)).numpy()
        np.testing.assert_allclose(run_graph(graph, {"ids": ids}), expected, atol=EXACT, rtol=0)


def test_trimmed_texts_equal_padded_ones(specs, random_weights, run_graph):
    ids = np.array([[4, 5, 6, 59] + 8 * [0], [9, 59] + 10 * [59]])
    for name in ("clip vit", "bag of words"):
        graph = text_graph(specs[name], random_weights(specs[name]))
        np.testing.assert_allclose(run_graph(graph, {"ids": ids[:, :4]}), run_graph(graph, {"ids": ids}), atol=EXACT)


@pytest.mark.parametrize("shared", [1, 3])
def test_ends_after_a_shared_beginning_equal_whole_texts(specs, shared, random_weights, run_graph):
    spec = specs["clip vit"]
    weights, text = random_weights(spec), spec.text
    ids = np.array([[4, 5, 6, 7, 59, 0], [4, 5, 6, 59, 0, 0], [4, 5, 6, 8, 9, 59]])
    whole, parts = text_graph(spec, weights), text_graph(spec, weights, shares_beginnings=True)
    nothing = np.zeros((text.layers, 2, text.heads, 0, text.width // text.heads), np.float32)
    expected = run_graph(whole, {"ids": ids})
    np.testing.assert_allclose(run_graph(parts, {"ids": ids, "past": nothing}), expected, atol=EXACT, rtol=0)
    past = run_graph(parts, {"ids": ids[:1, :shared], "past": nothing}, output="seen")
    assert past.shape == (text.layers, 2, text.heads, shared, text.width // text.heads)
    ends = run_graph(parts, {"ids": ids[:, shared:], "past": past})
    np.testing.assert_allclose(ends, expected, atol=EXACT, rtol=0)


def test_only_towers_that_do_not_see_padding_take_trimmed_texts(specs):
    trimmed = {name for name, spec in specs.items() if spec.text.trims}
    assert {"clip vit", "bag of words"} < trimmed
    assert not trimmed & {
        "siglip",
        "naflex",
        "causal text pooled at the last token",
        "bidirectional text pooled at end of text",
    }


def test_black_and_white_pictures_equal_modules(specs, random_weights, normalization, run_graph):
    """At the border, where convolutions pad, an inexact mean would show."""
    mean, std = (np.array(normalization[key], np.float32) for key in ("mean", "std"))
    for name in ("clip vit", "clip resnet", "resnet", "efficientnet", "vgg", "alexnet", "hybrid"):
        spec = specs[name]
        weights = random_weights(spec)
        side = spec.image.image_size
        pixels = np.stack([np.zeros((side, side, 3), np.uint8), np.full((side, side, 3), 255, np.uint8)])
        normalized = torch.tensor((pixels / np.float32(255) - mean) / std).permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = from_weights(spec, weights).encode_image(normalized).numpy()
        embedding = run_graph(image_graph(spec, weights, **normalization), {"pixels": pixels})
        assert_equal(embedding, expected)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_weights_run_in_float32(
    specs, dtype, random_weights, random_pictures, random_texts, normalization, run_graph
):
    for name in ("clip vit", "clip resnet", "siglip", "efficientnet", "hybrid", "bag of words"):
        spec = specs[name]
        weights = {key: array.astype(dtype) for key, array in random_weights(spec).items()}
        pictures, ids = random_pictures(spec, 2), random_texts(spec, 2)
        with torch.inference_mode():
            model = from_weights(spec, weights)
            images, texts = model.encode_image(**pictures.modules), model.encode_text(torch.tensor(ids))
        image = run_graph(image_graph(spec, weights, **normalization), pictures.feed)
        assert_equal(image, images.numpy())
        np.testing.assert_allclose(run_graph(text_graph(spec, weights), {"ids": ids}), texts, atol=EXACT, rtol=0)


def test_naflex_inputs_have_the_types_that_the_graph_takes(specs):
    patches, mask, shapes = np.zeros((2, 6, 192)), np.ones((2, 6), np.int32), np.array([[2, 3], [1, 6]], np.int32)
    feed = naflex_inputs(specs["naflex"], patches, mask, shapes)
    assert {name: array.dtype for name, array in feed.items()} == {
        "patches": np.uint8,
        "mask": np.bool_,
        "shapes": np.int64,
    }


def test_naflex_inputs_refuse_what_does_not_fit(specs):
    patches, mask, shapes = np.zeros((2, 6, 192), np.uint8), np.ones((2, 6), bool), np.ones((2, 2), np.int64)
    with pytest.raises(ValueError, match=r"expected patches \[n, m, 192\].* got \[2, 6, 192\], \[2, 5\] and \[2, 2\]"):
        naflex_inputs(specs["naflex"], patches, mask[:, :5], shapes)
    with pytest.raises(ValueError, match="not a NaFlex tower"):
        naflex_inputs(specs["siglip"], patches, mask, shapes)
    with pytest.raises(ValueError, match="not a NaFlex tower"):
        naflex_inputs(specs["clip resnet"], patches, mask, shapes)
