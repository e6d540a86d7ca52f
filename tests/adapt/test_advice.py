import numpy as np
import pytest

from anmok.adapt.advice import USUAL, Curve, _exponent, advise, learning_curve
from anmok.adapt.examples import Examples
from anmok.adapt.methods import ZeroShot
from anmok.adapt.probe import Probe
from anmok.adapt.validation import check, deal
from anmok.classify import LabelSet


def test_a_power_law_is_found_and_noise_is_not_believed():
    points = [(n, 1 - 0.5 * n**-0.5) for n in (1, 2, 4, 8)]
    assert _exponent(points) == pytest.approx(0.5)
    assert _exponent([(1, 0.5), (2, 0.9)]) == USUAL
    assert _exponent([(1, 0.5), (2, 0.5), (4, 0.4)]) == USUAL


def test_the_curve_rises_and_the_muddled_labels_want_more(make_world):
    world = make_world(list("abcd"), wrong=2.0, noise=0.35)
    world.pictures[1] = world.pictures[0] + 0.15 * world.pictures[1]  # a and b are hard to tell
    targets = np.repeat(range(4), 20)
    known = world.known(targets)
    folds = deal(known, seed=0)
    zero_shot, probe = check([ZeroShot(), Probe()], known, folds)
    curve = learning_curve(probe, zero_shot, known, folds.numbers[0], seed=0)
    assert [count for count, _ in curve.points] == [0, 1, 2, 4, 8, 20]
    assert curve.points[-1][1] > curve.points[1][1]
    examples = Examples((b"",) * 80, ("",) * 80, targets, LabelSet(list("abcd")))
    advice = advise(probe, examples, curve)
    assert {one.label for one in advice[:2]} == {"a", "b"}
    assert advice[0].more > 0 and all(one.low <= one.recognised <= one.high for one in advice)


def test_what_is_recognised_wants_nothing(make_world):
    world = make_world(["a", "b"], noise=0.05)
    known = world.known([0, 1] * 10)
    _, probe = check([ZeroShot(), Probe()], known, deal(known, seed=0))
    examples = Examples((b"",) * 20, ("",) * 20, known.targets, LabelSet(["a", "b"]))
    assert [one.more for one in advise(probe, examples, Curve(((0, 1.0),), USUAL))] == [0, 0]
