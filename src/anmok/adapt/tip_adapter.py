"""Tip-Adapter: the labels' words, and a memory of the examples that speaks up for what it has seen.

Source: Zhang et al. 2022 (arXiv 2207.09519), equations 2 to 6, from the paper. Two things are done otherwise. Sharpness
counts in spreads of the examples (the paper's β of 5.5 fits one encoder), and as the memory is tuned an example does
not see itself, which the paper's augmentations take care of.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from anmok.adapt.head import Head, affinity, softmax
from anmok.adapt.lbfgs import minimize
from anmok.adapt.methods import picked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.adapt.methods import Known

    Array = NDArray[np.float64]

__all__ = ["TipAdapter", "TunedTipAdapter"]

STEPS = 20  # of tuning; stopping early is what keeps the memory near the examples


class TipAdapter:
    """Words and a memory, nothing trained."""

    name = "Tip-Adapter"
    grid = tuple(product((0.5, 1.0, 2.0, 4.0, 8.0), (0.3, 1.0, 3.0, 10.0)))  # sharpness, strength
    settings = tuple(f"sharpness {sharpness:g}, strength {strength:g}" for sharpness, strength in grid)

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """The memory is the examples themselves."""
        head = Head.linear(known.warmth * known.words)
        spread = _spread(known.vectors)
        return [
            head.remembering(known.vectors, known.one_hot, strength=strength, sharpness=sharpness / spread)
            for sharpness, strength in picked(self.grid, only)
        ]


class TunedTipAdapter:
    """Words and a memory whose keys are trained (Tip-Adapter-F)."""

    name = "tuned Tip-Adapter"
    grid = tuple(product((1.0, 3.0), (1.0, 10.0)))
    settings = tuple(f"sharpness {sharpness:g}, strength {strength:g}" for sharpness, strength in grid)

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """The keys move to where the examples are told apart best, each without its own."""
        spread = _spread(known.vectors)
        return [self._tuned(known, sharpness / spread, strength) for sharpness, strength in picked(self.grid, only)]

    def _tuned(self, known: Known, sharpness: float, strength: float) -> Head:
        x, values = known.vectors, known.one_hot
        words = known.warmth * (x @ known.words.T)
        others = 1 - np.eye(len(x))

        def loss(keys: Array) -> tuple[float, Array]:
            near = affinity(x, keys, sharpness) * others  # [n, n]
            logits = words + strength * (near @ values)
            chances = softmax(logits)
            value = float(-np.log(np.maximum((chances * values).sum(axis=1), 1e-300)).mean())
            slope = (chances - values) / len(x)
            gradient: Array = strength * sharpness * ((slope @ values.T) * near).T @ x
            return value, gradient

        keys = minimize(loss, x, steps=STEPS) if len(x) > 1 else x
        head = Head.linear(known.warmth * known.words)
        return head.remembering(keys, values, strength=strength, sharpness=sharpness)


def _spread(vectors: Array) -> float:
    """The middle distance, 1 - cosine, of two examples."""
    if len(vectors) < 2:
        return 1.0
    some = vectors[:: max(1, len(vectors) // 1000)]
    distances = (1 - some @ some.T)[np.triu_indices(len(some), 1)]
    return max(float(np.median(distances)), 1e-6)
