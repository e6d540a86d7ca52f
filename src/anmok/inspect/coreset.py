"""Which of many features to keep: those that leave none of the others far from what is kept.

PatchCore (Roth et al. 2022, arXiv 2106.08265, section 3.2 and algorithm 1): the greedy solution of the k-center
problem (Gonzalez 1985), with distances taken after a random projection (Johnson and Lindenstrauss 1984).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["greedy_coreset", "project"]

PROJECTED = 128  # dimensions, as in the paper's reference implementation


def greedy_coreset(
    features: NDArray[np.float32], count: int, *, rng: np.random.Generator, name: str = "choosing what to keep"
) -> NDArray[np.int64]:
    """Choose `count` rows of [n, c], each the one that lies farthest from those chosen before; the first at random.

    A row x whose nearest chosen row is a cannot get nearer by the new one b where |a - b| >= 2 |x - a| (triangle
    inequality), so most rows are left alone in most steps. The result is that of the plain algorithm.

    Returns:
        int64 [min(count, n)], in the order in which they were chosen.
    """
    n = len(features)
    if count >= n:
        return np.arange(n)
    points = project(features, rng)
    chosen = np.empty(count, np.int64)
    chosen[0] = rng.integers(n)
    distance = np.linalg.norm(points - points[chosen[0]], axis=1)
    nearest = np.zeros(n, np.int64)
    with progress.task(name, count) as advance:
        advance(1)
        for k in range(1, count):
            new = int(distance.argmax())
            chosen[k] = new
            apart = np.linalg.norm(points[chosen[:k]] - points[new], axis=1)
            rows = np.flatnonzero(apart[nearest] < 2 * distance)
            to_new = np.linalg.norm(points[rows] - points[new], axis=1)
            closer = to_new < distance[rows]
            nearest[rows[closer]] = k
            distance[rows[closer]] = to_new[closer]
            distance[new] = 0
            advance(1)
    return chosen


def project(features: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """[n, c] → [n, PROJECTED] by a random Gaussian matrix that keeps distances nearly; as it is where c is smaller."""
    c = features.shape[1]
    if c <= PROJECTED:
        return features
    matrix = rng.standard_normal((c, PROJECTED), np.float32) / np.float32(np.sqrt(PROJECTED))
    projected: NDArray[np.float32] = features @ matrix
    return projected
