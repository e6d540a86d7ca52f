"""Probabilities that mean what they say: of the pictures called 80% sure, 80% are right.

Few examples: one temperature (Guo et al. 2017, arXiv 1706.04599). From ENOUGH on: one rising curve for the
probabilities of all labels (isotonic regression of all against right or wrong, then scaled to 1: "IRM" in Zhang et al.
2020, arXiv 2003.07329), which keeps the order of the labels and can mend any shape; with fewer it would follow chance
(Niculescu-Mizil & Caruana 2005).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok.adapt.head import softmax
from anmok.adapt.methods import temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["ENOUGH", "Calibration", "calibration_error", "fit_rising", "reliability"]

ENOUGH = 1000  # examples from which on a curve is fitted
RISE = 1e-6  # kept of the slope everywhere, so that no two labels become equal
BINS, BIN = 10, 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """Logits → probabilities. `factor` on the logits; where `curve_x` is not empty, a curve from there on."""

    factor: float
    curve_x: Array
    curve_y: Array

    @property
    def kind(self) -> str:
        """What it is, for people."""
        return "isotonic" if len(self.curve_x) else "temperature"

    @staticmethod
    def fit(logits: Array, targets: NDArray[np.int64]) -> Calibration:
        """From logits [n, m] of held-out examples and what they show [n]."""
        factor = temperature(logits, targets)
        if len(logits) < ENOUGH:
            return Calibration(factor, np.empty(0), np.empty(0))
        said = softmax(factor * logits)
        x, y = fit_rising(said.ravel(), (np.arange(said.shape[1]) == targets[:, None]).ravel().astype(np.float64))
        return Calibration(factor, x, y)

    def probabilities(self, logits: Array) -> Array:
        """[n, m] → [n, m]; every row adds up to 1."""
        said = softmax(self.factor * logits)
        if not len(self.curve_x):
            return said
        curved = np.interp(said, self.curve_x, self.curve_y) + RISE * said
        adjusted: Array = curved / curved.sum(axis=1, keepdims=True)
        return adjusted


def fit_rising(x: Array, y: Array) -> tuple[Array, Array]:
    """The rising curve nearest to points (least squares): corners x and y of its steps.

    Neighbours that fall are pooled until nothing falls (Barlow et al. 1972).
    """
    order = np.argsort(x, kind="stable")
    places, first, count = np.unique(x[order], return_index=True, return_counts=True)
    means = np.add.reduceat(y[order], first) / count
    blocks: list[list[float]] = []  # mean, weight, first place, last place
    for place, mean, weight in zip(places, means, count, strict=True):
        blocks.append([mean, weight, place, place])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            later = blocks.pop()
            earlier = blocks[-1]
            total = earlier[1] + later[1]
            blocks[-1] = [(earlier[0] * earlier[1] + later[0] * later[1]) / total, total, earlier[2], later[3]]
    corners = [(x, block[0]) for block in blocks for x in dict.fromkeys((block[2], block[3]))]
    return np.array([x for x, _ in corners]), np.array([y for _, y in corners])


def reliability(probabilities: Array, targets: NDArray[np.int64]) -> list[tuple[float, float, int]]:
    """Mean confidence, share right and number of pictures, in groups of equally many, the least sure first.

    At most BINS groups, of at least BIN pictures: the share right of a handful is chance.
    """
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    parts = np.array_split(np.argsort(sure, kind="stable"), int(np.clip(len(sure) // BIN, 1, BINS)))
    return [(float(sure[part].mean()), float(right[part].mean()), len(part)) for part in parts if len(part)]


def calibration_error(probabilities: Array, targets: NDArray[np.int64]) -> float:
    """Expected calibration error: the mean distance of confidence and share right, over equally filled groups."""
    groups = reliability(probabilities, targets)
    total = sum(count for _, _, count in groups)
    return sum(count * abs(sure - right) for sure, right, count in groups) / total if total else 0.0
