import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.adapt.head import softmax
from anmok.adapt.proposals import propose
from anmok.embeddings import unit


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 40), st.integers(0, 50))
def test_as_many_as_asked_each_once(total, count, seed):
    random = np.random.default_rng(seed)
    rows = propose(unit(random.normal(size=(total, 6))), softmax(random.normal(size=(total, 3))), count)
    assert len(rows) == len(set(rows)) == min(total, count)


def test_the_least_sure_comes_first_and_copies_do_not_follow():
    vectors = np.concatenate([np.repeat([[1.0, 0, 0]], 10, axis=0), [[0, 1.0, 0]], [[0, 0, 1.0]]])
    probabilities = np.array([[0.5, 0.5]] * 10 + [[0.45, 0.55], [0.999, 0.001]])
    assert set(propose(vectors, probabilities, 2)) & set(range(10))
    assert 10 in propose(vectors, probabilities, 2)


def test_nothing_to_choose_among():
    assert propose(np.empty((0, 4)), np.empty((0, 2)), 3) == []
    sure = np.repeat([[1.0, 0.0]], 4, axis=0)
    assert len(propose(np.eye(4), sure, 3)) == 3
