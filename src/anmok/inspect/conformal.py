"""Thresholds that keep a promise: from good pictures alone, how often a good picture will be called faulty.

Conformal prediction (Vovk et al. 2005; Angelopoulos and Bates 2021, arXiv 2107.07511): where new good pictures come
from where the n known ones came from, the rank of a new score among n + 1 is uniform, whatever the scores are. So a
p-value of 0.01 or less happens for one good picture in a hundred. It cannot be below 1 / (n + 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Drift", "drift", "p_values", "promised", "threshold"]

UPPER = 0.2  # p-values above this are those of good pictures, mostly: faults are far below
LEAST = 10  # pictures from which a drift can be told
CERTAIN = 0.01  # a drift is told wrongly this often at most


def promised(count: int, false_alarms: float) -> float:
    """The lowest rate at or above `false_alarms` that `count` good pictures can promise."""
    return max(false_alarms, 1 / (count + 1))


def threshold(good: NDArray[np.float32], false_alarms: float) -> float:
    """The score above which a picture is faulty, at the rate that is promised.

    Args:
        good: scores of good pictures that the memory does not hold, [n], n >= 1.
        false_alarms: wanted rate, 0..1.
    """
    n = len(good)
    above = max(1, math.floor(promised(n, false_alarms) * (n + 1) + 1e-9))
    return float(np.sort(good)[n - above])


def p_values(scores: NDArray[np.float32], good: NDArray[np.float32]) -> NDArray[np.float64]:
    """For each score, the share of good pictures that reach it, the new picture counted among them: [m] in 0..1."""
    reached = len(good) - np.searchsorted(np.sort(good), scores, side="left")
    values: NDArray[np.float64] = (1 + reached) / (len(good) + 1)
    return values


@dataclass(frozen=True)
class Drift:
    """Whether what is called good has moved since the fit. `reason` is a sentence for people."""

    moved: bool
    p_value: float
    reason: str = ""


def drift(scores: NDArray[np.float32], good: NDArray[np.float32], rate: float) -> Drift:
    """Do the pictures that look good score as the good ones of the fit did?

    Faults may be many, so only the lower scores count (p-values above UPPER). Within them inspected and good pictures
    are compared by the two-sample Kolmogorov-Smirnov statistic, one-sided: only scores that went up matter. Its
    p-value is Smirnov's limit exp(-2 D² nm / (n + m)).

    Args:
        scores: of the inspected pictures, [m].
        good: of good pictures that the memory does not hold, [n].
        rate: of false alarms that was promised.
    """
    if len(scores) < LEAST or len(good) < LEAST:
        return Drift(False, 1.0)
    flagged = float((p_values(scores, good) <= rate).mean())
    if flagged > 0.5:
        return Drift(True, 0.0, f"{flagged:.0%} of the pictures look faulty")
    low = np.sort(good)[: math.ceil((1 - UPPER) * len(good))]
    part = np.sort(scores[scores <= low[-1]])
    if len(part) < LEAST or len(low) < LEAST:
        return Drift(False, 1.0)
    steps = np.concatenate([low, part])
    below_good = np.searchsorted(low, steps, side="right") / len(low)
    below_part = np.searchsorted(part, steps, side="right") / len(part)
    statistic = float((below_good - below_part).max())
    p = math.exp(-2 * statistic**2 * len(low) * len(part) / (len(low) + len(part)))
    if p >= CERTAIN:
        return Drift(False, p)
    return Drift(True, p, "pictures that look good lie further from the memory than the good ones of the fit")
