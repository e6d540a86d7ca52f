import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from anmok.adapt.head import softmax
from anmok.adapt.lbfgs import minimize


@pytest.mark.parametrize("shape", [(3,), (4, 5)])
def test_a_bowl_has_its_lowest_place_where_it_should(shape):
    random = np.random.default_rng(0)
    lowest, steep = random.normal(size=shape), np.exp(random.normal(size=shape) * 2)
    found = minimize(lambda x: (0.5 * float((steep * (x - lowest) ** 2).sum()), steep * (x - lowest)), np.zeros(shape))
    np.testing.assert_allclose(found, lowest, atol=1e-3)


def test_rosenbrocks_valley():
    def valley(x):
        a, b = x
        return (1 - a) ** 2 + 100 * (b - a**2) ** 2, np.array([-2 * (1 - a) - 400 * a * (b - a**2), 200 * (b - a**2)])

    np.testing.assert_allclose(minimize(valley, np.array([-1.2, 1.0]), tolerance=1e-9), [1, 1], atol=1e-6)


def test_logistic_regression_as_scikit_learn_has_it():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(60, 7)), random.integers(0, 3, 60)
    hot, pull = np.eye(3)[y], 0.1

    def loss(weights):
        chances = softmax(x @ weights.T)
        value = -np.log((chances * hot).sum(axis=1)).mean() + pull / 2 * (weights**2).sum()
        return float(value), (chances - hot).T @ x / len(x) + pull * weights

    reference = LogisticRegression(C=1 / (pull * len(x)), fit_intercept=False, tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(minimize(loss, np.zeros((3, 7)), tolerance=1e-9), reference.coef_, atol=1e-5)


def test_a_function_that_cannot_be_lowered_ends():
    assert minimize(lambda x: (1.0, np.zeros_like(x)), np.ones(2)).tolist() == [1, 1]
    assert minimize(lambda x: (np.nan, np.ones_like(x)), np.ones(2)).tolist() == [1, 1]
