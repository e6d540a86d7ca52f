"""Zero-shot, prompts, Tip-Adapter and the probe, against the equations and scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from anmok.adapt.head import Head, softmax
from anmok.adapt.methods import Prompts, ZeroShot
from anmok.adapt.probe import ColumnProbe, Probe
from anmok.adapt.tip_adapter import TipAdapter, TunedTipAdapter

METHODS = [ZeroShot(), Prompts(("small",)), TipAdapter(), TunedTipAdapter(), Probe()]


@pytest.fixture
def world(make_world):
    return make_world(["a", "b", "c", "d"], wrong=0.6)


def test_zero_shot_is_what_the_encoder_says(world):
    known = world.known([0, 1, 2, 3])
    (head,) = ZeroShot().fit(known)
    np.testing.assert_allclose(head.logits(known.vectors), 20 * known.vectors @ world.words.T, atol=1e-9)


def test_tip_adapter_is_the_papers_equation(world):
    known = world.known([0, 0, 1, 2, 3, 3])
    x = world.draw([0, 1, 2], 9).astype(np.float64)
    for head, (_, strength) in zip(TipAdapter().fit(known), TipAdapter.grid, strict=True):
        affinity = np.exp(-head.sharpness * (1 - x @ known.vectors.T))
        expected = strength * affinity @ np.eye(4)[known.targets] + known.warmth * x @ known.words.T
        np.testing.assert_allclose(head.logits(x), expected, atol=1e-9)


def test_tuning_the_memory_lowers_the_loss_of_each_example_without_its_own(world):
    known = world.known(np.repeat(range(4), 6))

    def loss(head: Head) -> float:
        near = np.exp(-head.sharpness * (1 - known.vectors @ head.keys.T)) * (1 - np.eye(24))
        logits = known.vectors @ head.weights.T + head.strength * near @ head.values
        return float(-np.log(softmax(logits)[np.arange(24), known.targets]).mean())

    for head in TunedTipAdapter().fit(known):
        start = Head.linear(head.weights).remembering(
            known.vectors, head.values, strength=head.strength, sharpness=head.sharpness
        )
        assert loss(head) < loss(start)


def test_a_probe_pulled_hard_is_zero_shot_and_pulled_softly_is_logistic_regression(world):
    known = world.known(np.repeat(range(4), 30))
    heads = Probe().fit(known)
    fresh = world.draw(np.repeat(range(4), 50), 5)
    words = known.warmth * known.words
    hard, soft = heads[0].logits(fresh), heads[-1].logits(fresh)
    as_words = [(logits.argmax(axis=1) == (fresh @ words.T).argmax(axis=1)).mean() for logits in (hard, soft)]
    assert as_words[0] > 0.75 and as_words[0] > as_words[1]
    reference = LogisticRegression(C=1000, max_iter=2000).fit(known.vectors, known.targets)
    assert (soft.argmax(axis=1) == reference.predict(fresh)).mean() > 0.9


def test_the_probes_minimum_is_scikit_learns_around_no_words(world):
    """With words that say nothing, the penalty is around zero, as scikit-learn's."""
    known = world.known(np.repeat(range(4), 10), columns=np.random.default_rng(0).normal(size=(40, 3)))
    (head,) = ColumnProbe().fit(known, only=2)
    reference = LogisticRegression(C=1 / (0.1 * 40), tol=1e-8, max_iter=5000).fit(known.columns, known.targets)
    ours = softmax(head.logits(np.zeros_like(known.vectors), known.columns))
    np.testing.assert_allclose(ours, reference.predict_proba(known.columns), atol=5e-3)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_one_setting_is_the_same_as_among_all(world, method):
    known = world.known(np.repeat(range(4), 4))
    every = method.fit(known)
    assert len(every) == len(method.settings)
    (one,) = method.fit(known, only=len(every) - 1)
    fresh = world.draw([0, 1, 2, 3], 7)
    np.testing.assert_allclose(softmax(one.logits(fresh)), softmax(every[-1].logits(fresh)), atol=2e-2)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_a_label_without_an_example_is_answered_by_its_words(world, method):
    known = world.known([0, 0, 0, 1, 1, 1, 2, 2, 2])
    for head in method.fit(known):
        assert np.isfinite(head.logits(world.draw([3], 3))).all()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_one_example_is_enough_to_run(world, method):
    for head in method.fit(world.known([0])):
        assert np.isfinite(head.logits(world.draw([0, 3], 3))).all()
