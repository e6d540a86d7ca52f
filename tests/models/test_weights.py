import ml_dtypes
import numpy as np
import pytest

from anmok.errors import WeightsMismatch
from anmok.models.graphs import image_graph, text_graph
from anmok.models.modules import from_weights
from anmok.models.weights import as_float32, check_weights


@pytest.fixture
def clip(specs):
    return specs["clip vit"]


def test_weights_that_fit_pass(spec, random_weights):
    check_weights(spec, random_weights(spec))


def test_missing_unexpected_and_misshapen_weights_are_all_named(clip, random_weights):
    weights = random_weights(clip)
    del weights["image.blocks.1.mlp.up.bias"]
    weights["text.norm.scale"] = np.ones(3)
    weights["logit_scale"] = np.ones(1)
    with pytest.raises(WeightsMismatch) as error:
        check_weights(clip, weights)
    message = str(error.value)
    assert "missing: image.blocks.1.mlp.up.bias;" in message
    assert "unexpected: text.norm.scale;" in message
    assert "logit_scale is [1], expected []" in message


def test_a_long_list_is_cut_short(clip):
    with pytest.raises(WeightsMismatch, match=r"missing: .* and \d+ more"):
        check_weights(clip, {})


@pytest.mark.parametrize(
    "build",
    [from_weights, text_graph, lambda spec, weights: image_graph(spec, weights, mean=(0, 0, 0), std=(1, 1, 1))],
    ids=["modules", "text graph", "image graph"],
)
def test_every_executor_checks_its_weights(clip, random_weights, build):
    weights = random_weights(clip)
    weights["text.projection.weight"] = weights["text.projection.weight"].T
    with pytest.raises(WeightsMismatch, match=r"text\.projection\.weight is \[48, 24\], expected \[24, 48\]"):
        build(clip, weights)


def test_float32_is_shared_and_others_are_converted():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert as_float32(array) is array
    assert np.shares_memory(as_float32(array[1:]), array)
    for dtype in (np.float16, np.float64, ml_dtypes.bfloat16):
        converted = as_float32(array.astype(dtype))
        assert converted.dtype == np.float32
        assert np.array_equal(converted, array)


def test_a_scalar_stays_a_scalar_and_columns_become_contiguous():
    assert as_float32(np.array(2.0)).shape == ()
    assert as_float32(np.ones((2, 3), np.float32).T).flags.c_contiguous
