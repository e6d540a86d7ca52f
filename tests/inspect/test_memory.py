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
    nearest = memory.nearest(asked)
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(kept(memory, without))
    expected, rows = (found[:, 0] for found in reference.kneighbors(asked))
    left = [k for k in range(3) if k != without]
    np.testing.assert_allclose(nearest.distances[:, left].min(axis=1), expected, atol=1e-5)
    spreads = np.concatenate([one for k, one in enumerate(np.split(memory.spreads, memory.ends[:-1])) if k != without])
    np.testing.assert_allclose(nearest.without(without), expected / spreads[rows], rtol=1e-4)


def test_spreads_are_distances_to_neighbours_in_the_same_fold(memory):
    for fold, spreads in zip(
        np.split(memory.features, memory.ends[:-1]), np.split(memory.spreads, memory.ends[:-1]), strict=True
    ):
        found = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(fold.astype(np.float32)).kneighbors()[0]
        expected = found[:, :NEIGHBOURS].mean(axis=1)
        np.testing.assert_allclose(spreads, np.maximum(expected, 0.25 * np.median(expected)), rtol=2e-3)


@pytest.mark.parametrize("fold", [np.ones((1, 3)), np.ones((5, 3))])
def test_equal_features_have_a_spread_too(fold):
    memory = Memory.of([fold.astype(np.float32)])
    assert (memory.spreads > 0).all() and np.isfinite(memory.nearest(np.zeros((2, 3), np.float32)).values).all()


def test_size_is_that_of_the_features(memory):
    assert memory.mib == 150 * 20 * 2 / 2**20
