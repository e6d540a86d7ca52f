import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.inspect.coreset import PROJECTED, greedy_coreset, project


def plainly(points, count, first):
    """Gonzalez' algorithm as it is written down."""
    chosen, distance = [first], np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen, distance.max()


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 200), st.integers(1, 40), st.integers(0, 1000))
def test_equals_the_plain_algorithm(n, count, seed):
    points = np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)
    chosen = greedy_coreset(points, count, rng=np.random.default_rng(seed))
    if count >= n:
        assert chosen.tolist() == list(range(n))
    else:
        assert chosen.tolist() == plainly(points, count, int(chosen[0]))[0]


def test_no_point_is_further_than_twice_the_best_radius():
    """The greedy radius is at most twice the best one (Gonzalez 1985): here 8 groups of radius 1."""
    rng = np.random.default_rng(0)
    middles = 100 * rng.normal(size=(8, 5))
    offsets = rng.normal(size=(400, 5))
    offsets /= np.maximum(1, np.linalg.norm(offsets, axis=1, keepdims=True))
    points = (middles[np.arange(400) % 8] + offsets).astype(np.float32)
    chosen = points[greedy_coreset(points, 8, rng=rng)]
    assert np.linalg.norm(points[:, None] - chosen, axis=2).min(axis=1).max() <= 2


def test_projection_keeps_distances_nearly():
    points = np.random.default_rng(0).normal(size=(60, 700)).astype(np.float32)
    projected = project(points, np.random.default_rng(1))
    assert projected.shape == (60, PROJECTED)
    before = np.linalg.norm(points[:, None] - points, axis=2)[np.triu_indices(60, 1)]
    after = np.linalg.norm(projected[:, None] - projected, axis=2)[np.triu_indices(60, 1)]
    assert np.abs(after / before - 1).mean() < 0.08


def test_equal_points_do_no_harm():
    assert len(greedy_coreset(np.ones((50, 3), np.float32), 5, rng=np.random.default_rng(0))) == 5
