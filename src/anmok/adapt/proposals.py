"""Which pictures are most worth labelling next: those that would change the recogniser most, and differently.

A picture's vector, times how far its probabilities are from the answer given, is the gradient that its label would most
likely bring; pictures are drawn far from each other in that space (BADGE, Ash et al. 2020, arXiv 1906.03671). A sure
picture has a short gradient and is left alone, and of ten alike one is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["propose"]


def propose(vectors: Array, probabilities: Array, count: int, *, seed: int = 0) -> list[int]:
    """Rows of the pictures to label next, the best first.

    Args:
        vectors: unit vectors of unlabelled pictures, [n, d].
        probabilities: of the labels, [n, m].
        count: how many; all where there are fewer.
        seed: of the drawing (k-means++), after the first, which is the least sure.
    """
    random = np.random.default_rng(seed)
    away = probabilities - np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    lengths = (away**2).sum(axis=1) * (vectors**2).sum(axis=1)
    if not len(vectors):
        return []
    chosen = [int(lengths.argmax())]
    nearest = np.full(len(vectors), np.inf)
    while len(chosen) < min(count, len(vectors)):
        last = chosen[-1]
        # ‖a⊗x - b⊗y‖² = ‖a‖²‖x‖² + ‖b‖²‖y‖² - 2 (a·b)(x·y)
        crossed = (away @ away[last]) * (vectors @ vectors[last])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * crossed, 0))
        nearest[chosen] = 0
        total = nearest.sum()
        if total <= 1e-18:  # all that are left are like those chosen: the least sure of them
            left = np.setdiff1d(np.arange(len(vectors)), chosen)
            chosen.append(int(left[lengths[left].argmax()]))
        else:
            chosen.append(int(random.choice(len(vectors), p=nearest / total)))
    return chosen
