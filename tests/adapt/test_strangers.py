import numpy as np
import pytest

from anmok.adapt.probe import Probe
from anmok.adapt.strangers import KINDS, REFUSED, familiarity, find_strangers


def fit(known):
    return Probe().fit(known, only=3)[0]


def test_labels_that_were_held_out_are_strangers(make_world):
    world = make_world(list("abcdefgh"), noise=0.15)
    known = world.known(np.repeat(range(8), 12))
    numbers = np.arange(96) % 4
    found = find_strangers(fit, known, numbers)
    assert set(found.areas) == set(KINDS)
    assert found.areas[found.kind] == max(found.areas.values()) > 0.9
    assert found.strangers == 96 and found.accepted < 0.5
    assert found.refused == pytest.approx(REFUSED, abs=0.02)


def test_pictures_of_none_are_taken_where_they_are_given(make_world):
    world = make_world(["a", "b"], noise=0.1)
    known = world.known([0, 1] * 10)
    none = np.random.default_rng(5).normal(size=(30, 16))
    none /= np.linalg.norm(none, axis=1, keepdims=True)
    found = find_strangers(fit, known, np.arange(20) % 4, (none, np.empty((30, 0))))
    assert found.strangers == 30 * 4 and found.areas["nearness"] > 0.95


def test_two_labels_cannot_be_held_out(make_world):
    known = make_world(["a", "b"]).known([0, 1] * 10)
    found = find_strangers(fit, known, np.arange(20) % 4)
    assert found.accepted is None and not found.areas and np.isfinite(found.threshold)


def test_familiarity_of_known_cases():
    logits = np.array([[3.0, 0.0], [0.0, 0.0]])
    vectors, examples = np.eye(2), np.array([[1.0, 0.0], [0.6, 0.8]])
    assert familiarity("nearness", logits, vectors, examples).tolist() == [1.0, 0.8]
    assert familiarity("certainty", logits, vectors, examples)[1] == pytest.approx(0.5)
    np.testing.assert_allclose(familiarity("evidence", logits, vectors, examples), np.log([np.e**3 + 1, 2]))
