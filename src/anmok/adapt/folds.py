"""Which examples are held out together: a part of each label, near copies never on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.embeddings import unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.intp]

__all__ = ["MOST_FOLDS", "fold_numbers", "groups_of"]

MOST_FOLDS = 5
SAME = 0.97  # cosine, from the mean of all, from which on two pictures show the same thing a moment apart
AT_A_TIME = 2048


def fold_numbers(targets: NDArray[np.int64], groups: Rows, *, seed: int) -> Rows:
    """In which fold each example is held out, [n].

    Each label is dealt out over the folds in turn, group by group, and the next label goes on where it stopped, so
    that folds are of one size. There are as many folds as the commonest number of examples of a label, 2 to MOST_FOLDS.

    Args:
        targets: label of each example, [n].
        groups: number of the group each belongs to, [n]; a group is held out as one.
        seed: of the dealing.
    """
    random = np.random.default_rng(seed)
    counts = np.bincount(targets)
    folds = int(np.clip(np.median(counts[counts > 0]), 2, MOST_FOLDS))
    numbers = np.full(len(targets), -1, np.intp)
    turn = 0
    for target in random.permutation(np.unique(targets)):
        for row in random.permutation(np.flatnonzero(targets == target)):
            if numbers[row] < 0:
                numbers[groups == groups[row]] = turn % folds
                turn += 1
    return numbers


def groups_of(vectors: NDArray[np.floating]) -> Rows:
    """Number of the group of near copies that each of the vectors [n, d] belongs to, [n].

    Measured from the mean of all: an encoder that is hardly trained has them all in one direction.
    """
    leader = np.arange(len(vectors))
    vectors = unit(vectors - vectors.mean(axis=0))

    def first(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = int(leader[row])
        return row

    for start in range(0, len(vectors), AT_A_TIME):
        rows, others = np.nonzero(vectors[start : start + AT_A_TIME] @ vectors.T >= SAME)
        for row, other in zip(rows + start, others, strict=True):
            if other < row:
                leader[first(int(row))] = first(int(other))
    return np.array([first(row) for row in range(len(vectors))], np.intp)
