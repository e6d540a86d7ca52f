"""What good parts look like, place by place, and how unlike them something new is.

The memory is kept in folds, each from other pictures. A good picture that went into one fold is measured against the
other folds, as if it had never been seen; that is how the threshold is set without pictures to spare.

PatchCore (Roth et al. 2022, arXiv 2106.08265) takes the distance to the nearest feature, and for the worst place of a
picture weighs how rare that feature is (equation 7). Here every place of a thinned memory is weighed: its distance is
divided by how far apart the memory is around the nearest feature (as the local outlier factor does, Breunig et al.
2000). Plain metal is much alike, print is not, and what is far for the one is near for the other.
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
NEIGHBOURS = 8  # whose mean distance says how far apart the memory is around a feature
LEAST = 0.25  # of the median spread: less is taken as that much


@dataclass(frozen=True, eq=False)
class Nearest:
    """How unlike the nearest feature of each fold: `values` [places, folds], and `distances` before the division."""

    distances: NDArray[np.float32]
    values: NDArray[np.float32]

    def without(self, fold: int | None) -> NDArray[np.float32]:
        """[places]: of the nearest in all folds but one (None: in all)."""
        distances = self.distances.copy()
        if fold is not None:
            distances[:, fold] = np.inf
        nearest: NDArray[np.float32] = self.values[np.arange(len(distances)), distances.argmin(axis=1)]
        return nearest


@dataclass(frozen=True, eq=False)
class Memory:
    """Features [m, c] in float16, fold after fold; `ends` are the rows where folds end.

    `spreads`: float32 [m], mean distance of each to its nearest neighbours in its own fold; or 1.
    """

    features: NDArray[np.float16]
    ends: tuple[int, ...]
    spreads: NDArray[np.float32]
    _wide: NDArray[np.float32] = field(init=False, repr=False)
    _squares: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        wide = self.features.astype(np.float32)
        object.__setattr__(self, "_wide", wide)
        object.__setattr__(self, "_squares", np.einsum("ij,ij->i", wide, wide))

    @classmethod
    def of(cls, folds: Sequence[NDArray[np.float32]], *, relative: bool = True) -> Memory:
        """From the features of each fold. `relative`: distances are divided by the spread there.

        Not where nothing was thinned out: noise alone keeps the many features of plain places apart.
        """
        ends = np.cumsum([len(fold) for fold in folds])
        spreads = np.concatenate([_spreads(fold) if relative else np.ones(len(fold), np.float32) for fold in folds])
        return cls(np.concatenate(folds).astype(np.float16), tuple(int(end) for end in ends), spreads)

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
        """How unlike the memory features [n, c] are, fold by fold."""
        rows = np.empty((len(features), self.folds), np.int64)
        chunk = max(1, CELLS // max(1, len(self)))
        for start in range(0, len(features), chunk):
            part = slice(start, start + chunk)
            # |a - b|² = |a|² - 2ab + |b|²; |a|² is the same for every b
            order = self._squares - 2 * (features[part] @ self._wide.T)
            for fold, (begin, end) in enumerate(zip((0, *self.ends), self.ends, strict=False)):
                rows[part, fold] = begin + order[:, begin:end].argmin(axis=1)
        apart = [np.linalg.norm(features - self._wide[rows[:, fold]], axis=1) for fold in range(self.folds)]
        distances = np.stack(apart, axis=1).astype(np.float32)
        return Nearest(distances, np.divide(distances, self.spreads[rows], dtype=np.float32))


def _spreads(fold: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean distance of each feature [m, c] to its NEIGHBOURS nearest."""
    count = min(NEIGHBOURS, len(fold) - 1)
    if count < 1:
        return np.ones(len(fold), np.float32)
    spreads = np.empty(len(fold), np.float32)
    squares = np.einsum("ij,ij->i", fold, fold)
    chunk = max(1, CELLS // len(fold))
    for start in range(0, len(fold), chunk):
        part = slice(start, start + chunk)
        apart = squares[part, None] - 2 * (fold[part] @ fold.T) + squares
        apart[np.arange(len(apart)), np.arange(start, start + len(apart))] = np.inf  # itself
        nearest = np.partition(apart, count - 1, axis=1)[:, :count]
        spreads[part] = np.sqrt(np.maximum(nearest, 0)).mean(axis=1)
    least = LEAST * float(np.median(spreads))
    return np.maximum(spreads, np.float32(max(least, 1e-6)))
