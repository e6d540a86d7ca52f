import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from anmok.inspect.memory import NEIGHBOURS, Memory

RNG = np.random.default_rng(0)


@pytest.fixture
def memory():
    return Memory.of([RNG.normal(size=(size, 20)).astype(np.float32) for size in (40, 60, 50)])


def kept(memory, without=None):
    rows = [fold for k, fold in enumerate(np.split(memory.features, memory.ends[:-1])) if k != without]
    return np.concatenate(rows).astype(np.float32)


@pytest.mark.parametrize("without", [None, 0, 1, 2])
def test_nearest_is_that_of_scikit_learn(memory, without):
    asked = RNG.normal(size=(33, 20)).astype(np.float32)
    distances, rows = memory.nearest(asked).without(without)
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(kept(memory, without))
    np.testing.assert_allclose(distances, reference.kneighbors(asked)[0][:, 0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(asked - memory.features[rows], axis=1), distances, atol=1e-5)


@pytest.mark.parametrize("without", [None, 1])
def test_weight_is_equation_7(memory, without):
    feature = RNG.normal(size=20).astype(np.float32)
    _, rows = memory.nearest(feature[None]).without(without)
    own = memory.features[rows[0]].astype(np.float32)
    around = kept(memory, without)
    nearest = around[np.argsort(np.linalg.norm(around - own, axis=1))[:NEIGHBOURS]]
    powers = np.exp(np.linalg.norm(nearest.astype(np.float64) - feature, axis=1))
    expected = 1 - np.exp(np.linalg.norm(own - feature)) / powers.sum()
    assert memory.weight(feature, int(rows[0]), without=without) == pytest.approx(expected, abs=1e-5)


def test_weight_of_a_lonely_feature():
    assert Memory.of([np.ones((1, 3), np.float32)]).weight(np.zeros(3, np.float32), 0, without=None) == 1


def test_size_is_that_of_the_features(memory):
    assert memory.mib == 150 * 20 * 2 / 2**20
