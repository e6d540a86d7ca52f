"""A linear probe that starts from the words: multinomial logistic regression, drawn towards zero-shot.

    least  mean over examples of -log softmax(x·Wᵀ + z·Cᵀ + b)[target] + λ/2 (‖W - W₀‖² + ‖C‖²)

W₀ are the words at the scale at which zero-shot is as sure as it is right, so a label with few examples stays near what
its words say. Pictures are measured from their mean, with a mean length of 1: then one λ means the same for every
encoder. Source: Radford et al. 2021 (arXiv 2103.00020), section 3.1.5, for the probe; Li et al. 2022 (arXiv 2204.08790)
and Silva-Rodriguez et al. 2024 (arXiv 2312.12730) for starting from the words and being held near them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.adapt.head import Head, softmax
from anmok.adapt.lbfgs import minimize
from anmok.adapt.methods import picked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.adapt.methods import Known

    Array = NDArray[np.float64]

__all__ = ["ColumnProbe", "Probe"]

PULLS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)  # λ, from near the words to far
BIAS_PULL = 1e-4  # of the biases, so that a label without an example keeps a finite one


class Probe:
    """Pictures, and with them the columns if asked for."""

    settings = tuple(f"pull {pull:g}" for pull in PULLS)

    def __init__(self, *, columns: bool = False) -> None:
        self.name = "probe with columns" if columns else "probe"
        self._columns = columns

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """One head for each pull, each from the one before."""
        columns = known.columns if self._columns else known.columns[:, :0]
        mean = known.vectors.mean(axis=0)
        length = max(float(np.sqrt(((known.vectors - mean) ** 2).sum(axis=1).mean())), 1e-9)
        start = known.warmth * known.words
        features = np.concatenate([(known.vectors - mean) / length, columns], axis=1)
        begin = np.concatenate([length * start, np.zeros((len(start), columns.shape[1]))], axis=1)
        bias = start @ mean
        heads = []
        for weights, biases in _path(features, known.one_hot, begin, bias, only):
            d = known.vectors.shape[1]
            pictures = weights[:, :d] / length
            heads.append(Head.linear(pictures, biases - pictures @ mean, weights[:, d:]))
        return heads


class ColumnProbe:
    """Columns alone, for comparing."""

    name = "columns alone"
    settings = tuple(f"pull {pull:g}" for pull in PULLS)

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """One head for each pull."""
        m, d = known.words.shape
        begin = np.zeros((m, known.columns.shape[1]))
        found = _path(known.columns, known.one_hot, begin, np.zeros(m), only)
        return [Head.linear(np.zeros((m, d)), biases, weights) for weights, biases in found]


def _path(features: Array, one_hot: Array, begin: Array, bias: Array, only: int | None) -> list[tuple[Array, Array]]:
    """Weights [m, f] and biases [m] for PULLS. Features [n, f]; they are drawn towards `begin` and `bias`."""
    place = np.concatenate([begin, bias[:, None]], axis=1)
    inputs = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    origin, found = place.copy(), []
    for pull in picked(PULLS, only):
        pulls = np.full(place.shape[1], pull)
        pulls[-1] = BIAS_PULL

        def loss(weights: Array, pulls: Array = pulls) -> tuple[float, Array]:
            chances = softmax(inputs @ weights.T)
            away = weights - origin
            value = -np.log(np.maximum((chances * one_hot).sum(axis=1), 1e-300)).mean() + 0.5 * (pulls * away**2).sum()
            gradient: Array = (chances - one_hot).T @ inputs / len(inputs) + pulls * away
            return float(value), gradient

        place = minimize(loss, place, tolerance=1e-4)
        found.append((place[:, :-1], place[:, -1]))
    return found
