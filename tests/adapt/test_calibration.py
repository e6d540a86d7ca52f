import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

from anmok.adapt.calibration import ENOUGH, Calibration, calibration_error, fit_rising, reliability
from anmok.adapt.head import log_softmax, softmax
from anmok.adapt.methods import temperature


def drawn(count, scale, seed=0, labels=4):
    """Logits, and targets drawn from `scale` times them: at that factor the probabilities are right."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, labels)) * 2
    chances = softmax(scale * logits)
    return logits, np.array([random.choice(labels, p=row) for row in chances])


def test_the_temperature_is_where_the_likelihood_is_highest():
    logits, targets = drawn(400, 0.5)

    def loss(power):
        log = log_softmax(np.exp(power) * logits)
        return -log[np.arange(400), targets].mean() - log.mean() / 400

    best = np.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-8}).x)
    assert temperature(logits, targets) == pytest.approx(best, rel=1e-3)
    assert temperature(logits, targets) == pytest.approx(0.5, rel=0.2)


def test_a_few_examples_without_a_mistake_do_not_ask_for_certainty():
    logits, targets = np.eye(3) * 5.0, np.arange(3)
    assert temperature(logits, targets) < 5
    assert temperature(np.empty((0, 3)), np.empty(0, int)) == 1


@pytest.mark.parametrize("count", [200, ENOUGH + 500])
def test_wrongly_sure_probabilities_become_right(count):
    logits, targets = drawn(count, 0.3)
    calibration = Calibration.fit(logits, targets)
    assert calibration.kind == ("temperature" if count < ENOUGH else "isotonic")
    fresh, truth = drawn(4000, 0.3, seed=1)
    before = calibration_error(softmax(fresh), truth)
    after = calibration_error(calibration.probabilities(fresh), truth)
    assert before > 0.2 and after < 0.05


@settings(deadline=None)
@given(st.integers(2, 30), st.integers(0, 1000))
def test_the_rising_curve_is_scikit_learns(count, seed):
    random = np.random.default_rng(seed)
    x, y = random.integers(0, 10, count) / 10, random.random(count)
    corners, heights = fit_rising(x, y)
    assert (np.diff(corners) > 0).all() and (np.diff(heights) >= 0).all()
    reference = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    at = np.linspace(x.min(), x.max(), 50)
    np.testing.assert_allclose(np.interp(at, corners, heights), reference.predict(at), atol=1e-6)


def test_a_curve_keeps_the_order_of_labels():
    logits, targets = drawn(ENOUGH, 0.3)
    fresh, _ = drawn(200, 0.3, seed=2)
    probabilities = Calibration.fit(logits, targets).probabilities(fresh)
    assert (np.argsort(probabilities, axis=1) == np.argsort(fresh, axis=1)).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_calibration_error_of_known_cases():
    sure = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0)
    always = np.array([[1.0, 0.0]] * 20)
    assert calibration_error(always, np.array([0, 1] * 10)) == pytest.approx(0.5)
    assert sum(count for _, _, count in reliability(always, np.zeros(20, int))) == 20
