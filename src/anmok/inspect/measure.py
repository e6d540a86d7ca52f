"""How unlike the good parts a picture is, as a whole and place by place."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.inspect.memory import Memory

__all__ = ["measure"]

HIGHEST = 0.01  # share of the places whose mean is the score of the picture


def measure(
    memory: Memory, features: NDArray[np.float32], *, fold: int | None = None
) -> tuple[float, NDArray[np.float32]]:
    """Score of a picture and values of its places.

    The score is the mean of the highest hundredth, as in AnomalyDINO (Damm et al. 2024, arXiv 2405.14529); the single
    highest place, which PatchCore takes, was worse on what was measured.

    Args:
        memory: of good parts.
        features: [rows, columns, c].
        fold: that the picture itself went into; it is left out. A picture that went into none is measured without each
            fold in turn and gets the mean: by memories as large as those that the good pictures were measured by.

    Returns:
        The score, and float32 [rows, columns].
    """
    nearest = memory.nearest(features.reshape(-1, features.shape[-1]))
    everything: list[int | None] = [None] if memory.folds == 1 else list(range(memory.folds))
    turns = everything if fold is None else [fold]
    values = [nearest.without(left_out) for left_out in turns]
    score = float(np.mean([_highest(one) for one in values]))
    places: NDArray[np.float32] = np.stack(values).mean(axis=0).reshape(features.shape[:2])
    return score, places


def _highest(values: NDArray[np.float32]) -> float:
    count = max(1, math.ceil(HIGHEST * len(values)))
    return float(np.partition(values, -count)[-count:].mean())
