import numpy as np
import pytest

from anmok.inspect.levels import balanced
from anmok.models.dense import dense_shapes, local_widths
from anmok.models.sizes import SIZES


@pytest.mark.parametrize("name", sorted(SIZES))
def test_widths_are_those_of_the_local_features(name):
    spec = SIZES[name]
    assert sum(local_widths(spec)) == dense_shapes(spec)[1][-1]


def test_each_depth_has_an_equal_part():
    features = np.random.default_rng(0).normal(size=(5, 7, 30)).astype(np.float32) * np.repeat([1, 40], [10, 20])
    even = balanced(features.astype(np.float32), (10, 20))
    np.testing.assert_allclose(np.linalg.norm(even, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(even[..., :10], axis=-1), 0.5**0.5, atol=1e-6)
    cosines = [
        (part[0, 0] @ part[1, 1]) / np.linalg.norm(part[0, 0]) / np.linalg.norm(part[1, 1])
        for part in (features[..., :10], features[..., 10:])
    ]
    assert np.sum((even[0, 0] - even[1, 1]) ** 2) / 2 == pytest.approx(1 - np.mean(cosines), abs=1e-5)
