"""Metrics with their chance level and confidence interval. Arrays in, numbers out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["auroc", "auroc_interval", "false_positive_rate", "hits_at", "recall_chance", "wilson"]

Z95 = 1.959963984540054  # two-sided 95% of the normal distribution


def hits_at(scores: NDArray[np.floating], relevant: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """Whether one of the k best-scored candidates is relevant, per row; recall@k is the mean.

    Candidates with equal scores count by the share of their orders that hits, so that an encoder that
    cannot tell them apart gets chance and not luck.

    Args:
        scores: [n, m], higher is better.
        relevant: [n, m]; accuracy@k where each row has one.
        k: how many candidates are looked at.

    Returns:
        [n] in 0..1.
    """
    best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    above = (scores > best).sum(axis=1)  # surely ranked before the best relevant one
    tied = (scores == best).sum(axis=1)
    good = (relevant & (scores == best)).sum(axis=1)
    hits = np.zeros(len(scores))
    for row in np.flatnonzero(relevant.any(axis=1)):
        drawn = min(max(k - int(above[row]), 0), int(tied[row]))
        hits[row] = 1 - _none_drawn(int(tied[row]), int(good[row]), drawn)
    return hits


def recall_chance(relevant: NDArray[np.bool_], k: int) -> float:
    """Recall@k of an encoder that ranks at random: per row 1 - C(m - r, k) / C(m, k) with r of m relevant."""
    m = relevant.shape[1]
    return float(np.mean([1 - _none_drawn(m, int(r), min(k, m)) for r in relevant.sum(axis=1)]))


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% confidence interval of a share measured on n independent cases (Wilson 1927).

    Right at small n and near 0 and 1, where share ± 1.96 standard errors leaves 0..1.
    """
    if n < 1:
        return 0.0, 1.0
    center = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(0.0, center - half), min(1.0, center + half)


def auroc_interval(area: float, positives: int, negatives: int) -> tuple[float, float]:
    """95% confidence interval of an AUROC, from independent cases (Hanley and McNeil 1982, equation 1)."""
    both_above = area / (2 - area)  # two positives above one negative
    both_below = 2 * area**2 / (1 + area)  # one positive above two negatives
    spread = area * (1 - area) + (positives - 1) * (both_above - area**2) + (negatives - 1) * (both_below - area**2)
    half = Z95 * math.sqrt(max(spread, 0.0) / (positives * negatives))
    return max(0.0, area - half), min(1.0, area + half)


def auroc(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Probability that a positive scores above a negative, ties counting half (area under the ROC curve)."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    return float((below + up_to).mean() / (2 * len(negative)))


def false_positive_rate(positive: NDArray[np.floating], negative: NDArray[np.floating], *, found: float = 0.8) -> float:
    """Share of negatives at or above the highest threshold that finds at least `found` of the positives."""
    ranked = np.sort(positive)[::-1]
    threshold = ranked[max(math.ceil(found * len(ranked)), 1) - 1]
    return float((negative >= threshold).mean())


def _none_drawn(total: int, good: int, drawn: int) -> float:
    """Probability that `drawn` of `total`, without putting back, are all among the total - good bad ones."""
    if drawn > total - good:
        return 0.0
    return math.comb(total - good, drawn) / math.comb(total, drawn)
