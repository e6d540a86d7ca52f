"""What good parts look like, place by place, and how far something new is from it.

The memory is kept in folds, each from other pictures. A good picture that went into one fold is measured against the
other folds, as if it had never been seen; that is how the threshold is set without pictures to spare.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Memory", "Nearest"]

CELLS = 1 << 23  # distances that are held at a time (32 MiB)
NEIGHBOURS = 9  # of the nearest feature that say how crowded it is there (b in equation 7)


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest feature in each fold: `distances` and `rows` of the memory, [places, folds]."""

    distances: NDArray[np.float32]
    rows: NDArray[np.int64]

    def without(self, fold: int | None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest in all folds but one (None: in all): distances and rows, [places]."""
        distances = self.distances.copy()
        if fold is not None:
            distances[:, fold] = np.inf
        best = distances.argmin(axis=1)
        places = np.arange(len(best))
        return distances[places, best], self.rows[places, best]


@dataclass(frozen=True, eq=False)
class Memory:
    """Features [m, c] in float16, fold after fold; `ends` are the rows where folds end."""

    features: NDArray[np.float16]
    ends: tuple[int, ...]
    _wide: NDArray[np.float32] = field(init=False, repr=False)
    _squares: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wide = self.features.astype(np.float32)
        object.__setattr__(self, "_wide", wide)
        object.__setattr__(self, "_squares", np.einsum("ij,ij->i", wide, wide))

    @classmethod
    def of(cls, folds: Sequence[NDArray[np.float32]]) -> Memory:
        """From the features of each fold."""
        ends = np.cumsum([len(fold) for fold in folds])
        return cls(np.concatenate(folds).astype(np.float16), tuple(int(end) for end in ends))

    def __len__(self) -> int:
        return len(self.features)

    @property
    def folds(self) -> int:
        """How many."""
        return len(self.ends)

    @property
    def mib(self) -> float:
        """Size of the features as they are kept."""
        return self.features.nbytes / 2**20

    def nearest(self, features: NDArray[np.float32]) -> Nearest:
        """Euclidean distance to the nearest feature of each fold, of features [n, c]."""
        rows = np.empty((len(features), self.folds), np.int64)
        chunk = max(1, CELLS // max(1, len(self)))
        for start in range(0, len(features), chunk):
            part = slice(start, start + chunk)
            # |a - b|² = |a|² - 2ab + |b|²; |a|² is the same for every b
            order = self._squares - 2 * (features[part] @ self._wide.T)
            for fold, (begin, end) in enumerate(zip((0, *self.ends), self.ends, strict=False)):
                rows[part, fold] = begin + order[:, begin:end].argmin(axis=1)
        apart = [np.linalg.norm(features - self._wide[rows[:, fold]], axis=1) for fold in range(self.folds)]
        return Nearest(np.stack(apart, axis=1), rows)

    def weight(self, feature: NDArray[np.float32], row: int, *, without: int | None) -> float:
        """How much the distance of `feature` [c] to row `row` counts: more where that row is itself a rare one.

        Equation 7 of PatchCore (arXiv 2106.08265): 1 - exp|x - m*| / sum of exp|x - m| over the features m of the
        memory that are nearest to m* (itself among them).
        """
        order = self._squares - 2 * (self._wide @ self._wide[row])
        if without is not None:
            order[slice((0, *self.ends)[without], self.ends[without])] = np.inf
        count = min(NEIGHBOURS, int(np.isfinite(order).sum()))
        if count < 2:
            return 1.0
        around = np.argpartition(order, count - 1)[:count]
        apart = np.linalg.norm(self._wide[around] - feature, axis=1).astype(np.float64)
        own = float(np.linalg.norm(self._wide[row] - feature))
        return float(1 - np.exp(own - apart.max()) / np.exp(apart - apart.max()).sum())
