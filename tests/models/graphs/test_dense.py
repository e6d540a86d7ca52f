"""Dense graphs equal the modules on every kind of model, and the ordinary embedding is among what they give."""

import numpy as np
import pytest
import torch

from anmok.models.dense import dense_shapes
from anmok.models.graphs import image_graph
from anmok.models.modules import from_weights

OUTPUTS = ["embedding", "patch_embeddings", "local"]


@pytest.fixture
def both(spec, random_weights, random_pictures, normalization, run_graph):
    """(graph's, modules') embedding, patches and local, with padding of NaFlex left out; and the weights."""
    weights, pictures = random_weights(spec), random_pictures(spec, 3)
    with torch.inference_mode():
        expected = [part.numpy() for part in from_weights(spec, weights).encode_dense(**pictures.modules)]
    graph = image_graph(spec, weights, **normalization, dense=True)
    found = run_graph(graph, pictures.feed, OUTPUTS)
    assert [part.dtype for part in found] == [np.float32] * 3
    assert [part.shape for part in found] == [part.shape for part in expected]
    if "mask" in pictures.feed:
        real = pictures.feed["mask"]
        found, expected = ([parts[0], *(part[real] for part in parts[1:])] for parts in (found, expected))
    return found, expected, weights


def test_dense_graph_equals_modules(both, spec, random_pictures, normalization, run_graph):
    found, expected, weights = both
    for part, wanted in zip(found, expected, strict=True):
        assert wanted.std() > 0.01  # there is something to compare
        np.testing.assert_allclose(part, wanted, atol=1e-5 * max(1, np.abs(wanted).max() / 5), rtol=0)
    ordinary = run_graph(image_graph(spec, weights, **normalization), random_pictures(spec, 3).feed)
    np.testing.assert_allclose(found[0], ordinary, atol=1e-6 * max(1, np.abs(ordinary).max()), rtol=0)


def test_shapes_are_those_that_are_said(spec, random_weights, random_pictures, normalization, run_graph):
    graph = image_graph(spec, random_weights(spec), **normalization, dense=True)
    found = run_graph(graph, random_pictures(spec, 2).feed, OUTPUTS)
    for part, shape in zip(found[1:], dense_shapes(spec), strict=True):
        assert part.shape[1:] == tuple(20 if size == "m" else size for size in shape)
    declared = {output.name: [d.dim_value or d.dim_param for d in output.type.tensor_type.shape.dim]
                for output in graph.model.graph.output}  # fmt: skip
    assert declared["patch_embeddings"][1:] == list(dense_shapes(spec)[0])
    assert declared["local"][1:] == list(dense_shapes(spec)[1])
