import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.adapt.head import softmax
from anmok.adapt.prediction_sets import conformity_scores, in_sets, least_error_rate
from anmok.errors import SettingsError


def drawn(count, seed):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, 6)) * 1.5
    truth = np.array([random.choice(6, p=row) for row in softmax(0.7 * logits)])  # the probabilities are too sure
    return softmax(logits), truth


@pytest.mark.parametrize("rate", [0.05, 0.2])
def test_the_promise_holds_though_the_probabilities_are_wrong(rate):
    """On average over examples: at least 1 - rate, and no more than 1/(n+1) above but for the best label."""
    kept = []
    for seed in range(300):
        calibrating, truth = drawn(60, 2 * seed)
        fresh, right = drawn(60, 2 * seed + 1)
        inside = in_sets(fresh, conformity_scores(calibrating, truth), rate)
        kept.append(inside[np.arange(60), right].mean())
    error = np.std(kept) / np.sqrt(len(kept))
    assert np.mean(kept) > 1 - rate - 2 * error
    assert np.mean(kept) < 1 - rate + 1 / 61 + 0.03


@settings(deadline=None)
@given(st.integers(1, 40), st.floats(0.01, 0.99), st.integers(0, 50))
def test_a_lower_rate_never_takes_a_label_away_and_the_best_is_always_there(count, rate, seed):
    probabilities, truth = drawn(count, seed)
    scores = conformity_scores(probabilities, truth)
    sets = in_sets(probabilities, scores, rate)
    assert sets[np.arange(count), probabilities.argmax(axis=1)].all()
    assert (in_sets(probabilities, scores, rate / 2) >= sets).all()


def test_too_few_examples_answer_with_every_label():
    probabilities, truth = drawn(9, 0)
    scores = conformity_scores(probabilities, truth)
    assert least_error_rate(scores) == pytest.approx(0.1)
    assert in_sets(probabilities, scores, 0.05).all()
    assert not in_sets(probabilities, scores, 0.1).all()


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 2])
def test_a_rate_that_is_none(rate):
    with pytest.raises(SettingsError, match=r"0\.05"):
        in_sets(np.array([[0.5, 0.5]]), np.array([0.1]), rate)
