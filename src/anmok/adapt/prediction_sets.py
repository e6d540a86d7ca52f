"""Sets of labels that hold the right one as often as promised: conformal prediction.

The score of an example is 1 less the probability of what it shows, when that was not known. A set takes every label
whose score is no higher than all but the chosen share of these: on average over pictures like the examples it misses no
more often than promised, whatever the model, and no other rule that looks at probabilities alone gives smaller sets.

Source: Vovk et al. 2005; Sadinle et al. 2019 (arXiv 1609.00451), "LAC". The scores come from cross-validation, so the
promise holds as well as the folds' heads stand for the one that is shipped, which saw more (Barber et al. 2021,
arXiv 1905.02928).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from anmok.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["conformity_scores", "in_sets", "least_error_rate"]


def conformity_scores(probabilities: Array, targets: NDArray[np.int64]) -> Array:
    """1 less the probability of what each example shows, sorted, [n]."""
    scores: Array = np.sort(1 - probabilities[np.arange(len(targets)), targets])
    return scores


def least_error_rate(scores: Array) -> float:
    """The smallest rate that so many examples can promise without answering with every label."""
    return 1 / (len(scores) + 1)


def in_sets(probabilities: Array, scores: Array, error_rate: float) -> NDArray[np.bool_]:
    """Which labels are in the set of each picture, [n, m].

    The best label always is: leaving it out keeps no promise better.

    Args:
        probabilities: calibrated, [n, m].
        scores: from `conformity_scores`.
        error_rate: how often the right label may be missing, above 0 and below 1.

    Raises:
        SettingsError: the rate is not between 0 and 1.
    """
    if not 0 < error_rate < 1:
        raise SettingsError(f"the error rate is {error_rate:g}, expected a share above 0 and below 1, such as 0.05")
    rank = math.ceil((len(scores) + 1) * (1 - error_rate) - 1e-9)
    highest = scores[rank - 1] if rank <= len(scores) else np.inf
    inside: NDArray[np.bool_] = 1 - probabilities <= highest + 1e-12
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside
