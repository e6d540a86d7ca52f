"""How unlike the good parts a picture is, as a whole and place by place.

Two measures, by how many good pictures there are:

- "patch memory": PatchCore (Roth et al. 2022, arXiv 2106.08265). Euclidean distance of each place to the nearest
  feature in the memory; the picture's score is the largest, weighted by equation 7.
- "few-shot": AnomalyDINO (Damm et al. 2024, arXiv 2405.14529). Cosine distance; the picture's score is the mean of the
  largest hundredth.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from anmok.embeddings import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.inspect.memory import Memory

__all__ = ["Method", "measure", "prepared"]

Method = Literal["patch memory", "few-shot"]

HIGHEST = 0.01  # share of the places whose mean is the score of "few-shot"


def prepared(features: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """Features [..., c] as the memory of this method keeps them, [n, c]."""
    flat = features.reshape(-1, features.shape[-1])
    return unit(flat) if method == "few-shot" else flat


def measure(
    memory: Memory, features: NDArray[np.float32], method: Method, *, fold: int | None = None
) -> tuple[float, NDArray[np.float32]]:
    """Score of a picture and values of its places.

    Args:
        memory: of good parts.
        features: [rows, columns, c].
        method: see above.
        fold: that the picture itself went into; it is left out. A picture that went into none is measured without each
            fold in turn and gets the mean: by memories as large as those that the good pictures were measured by.

    Returns:
        The score, and float32 [rows, columns].
    """
    flat = prepared(features, method)
    nearest = memory.nearest(flat)
    everything: list[int | None] = [None] if memory.folds == 1 else list(range(memory.folds))
    scores: list[float] = []
    values: NDArray[np.float32] = np.zeros(len(flat), np.float32)
    turns = everything if fold is None else [fold]
    for left_out in turns:
        distances, rows = nearest.without(left_out)
        if method == "few-shot":
            distances *= distances / 2  # of unit vectors: 1 - cosine
            scores.append(_highest(distances))
        else:
            worst = int(distances.argmax())
            weight = memory.weight(flat[worst], int(rows[worst]), without=left_out)
            scores.append(weight * float(distances[worst]))
        values += distances / len(turns)
    return float(np.mean(scores)), values.reshape(features.shape[:2])


def _highest(distances: NDArray[np.float32]) -> float:
    count = max(1, math.ceil(HIGHEST * len(distances)))
    return float(np.partition(distances, -count)[-count:].mean())
