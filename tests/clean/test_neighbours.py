import numpy as np
import pytest

from anmok.clean import neighbours
from anmok.clean.neighbours import neighbour_pairs
from anmok.embeddings import unit


def directions(count, seed=0, dimension=32):
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def test_a_few_rows_are_all_compared():
    vectors = directions(300, dimension=4)
    rows = np.random.default_rng(1).permutation(300)[:200]
    i, j = neighbour_pairs(vectors, rows, cosine=0.95, count=200)
    cosines = vectors[rows] @ vectors[rows].T
    expected = [pair for pair in np.argwhere(cosines >= 0.95).tolist() if pair[0] < pair[1]]
    assert len(expected) > 50
    assert np.stack([i, j], axis=1).tolist() == expected


@pytest.fixture
def small_cells(monkeypatch):
    monkeypatch.setattr(neighbours, "CELL_ROWS", 50)


def test_near_rows_are_found_in_cells(small_cells):
    vectors = directions(2000)
    near = unit(vectors[:200] + np.random.default_rng(1).normal(0, 0.03, (200, 32)))  # cosine 0.985
    i, j = neighbour_pairs(np.concatenate([vectors, near]).astype(np.float16), np.arange(2200), cosine=0.95)
    pairs = set(zip(i.tolist(), j.tolist(), strict=True))
    planted = {(k, 2000 + k) for k in range(200)}
    assert len(planted & pairs) >= 0.95 * len(planted)  # what lies between two cells may be lost
    cosines = np.einsum("pd,pd->p", np.concatenate([vectors, near])[i], np.concatenate([vectors, near])[j])
    assert cosines.min() > 0.949  # half precision


def test_the_same_every_time(small_cells):
    vectors = directions(500, dimension=8)
    first, second = (neighbour_pairs(vectors, np.arange(500), cosine=0.9) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_thousand_equal_rows_do_not_make_half_a_million_pairs(small_cells):
    vectors = np.repeat(directions(1), 1000, axis=0)
    i, _ = neighbour_pairs(vectors, np.arange(1000), cosine=0.95, count=8)
    assert 1000 <= len(i) <= 2 * 8 * 1000


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_rows(count):
    i, j = neighbour_pairs(directions(5), np.arange(count), cosine=-1)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == ([(0, 1)] if count == 2 else [])
