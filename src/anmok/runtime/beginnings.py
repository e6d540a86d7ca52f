"""Texts that begin alike are run as one beginning and many ends.

In a causal tower a token depends on those before it alone, so what a shared beginning ("a photo of a") leaves in every
layer is the same for all texts that have it. It is run once, and then only the ends are. Exact, not an approximation.

    a photo of a cat.          a photo of a | cat.
    a photo of a red bag.  →                | red bag.
    graffiti of a cat.         graffiti of a cat.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.models.spec import TextSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint

__all__ = ["Group", "no_past", "plan", "run_texts", "shares_beginnings"]

RUN = 32  # what starting a run costs, in tokens: reading the weights once takes about as long as working on so many


@dataclass(frozen=True)
class Group:
    """Texts, as `rows` of a batch from short to long, that are run with their first `shared` tokens once (0: whole)."""

    shared: int
    rows: NDArray[np.int64]


def run_texts(
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    run: Callable[[NDArray[np.int64], NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]],
    *,
    nothing: NDArray[np.float32],
    most: int,
) -> NDArray[np.float32]:
    """Embed texts, beginnings that are worth it once: float32 [n, d].

    Args:
        ids: tokens [n, l], padded behind.
        lengths: of each text, its end token included, [n].
        run: (ids, what the tokens before them left) → (embeddings, what the first text leaves).
        nothing: what no tokens leave, [layers, 2, heads, 0, width/heads].
        most: texts per run.
    """
    vectors: NDArray[np.float32] | None = None
    for group in plan(ids, lengths):
        past = run(ids[group.rows[:1], : group.shared], nothing)[1] if group.shared else nothing
        for start in range(0, len(group.rows), most):
            rows = group.rows[start : start + most]
            embedded = run(ids[rows, group.shared : int(lengths[rows].max())], past)[0]
            if vectors is None:
                vectors = np.empty((len(ids), embedded.shape[1]), np.float32)
            vectors[rows] = embedded
    assert vectors is not None
    return vectors


def plan(ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[Group]:
    """Every text in one group; each group shares what is worth sharing."""
    order = np.lexsort(ids.T[::-1])
    found = _best(ids[order], lengths[order], 0, len(order), 0)[1]
    groups = ((shared, order[places]) for shared, places in found)
    return [Group(shared, rows[np.argsort(lengths[rows], kind="stable")]) for shared, rows in groups]


def _best(
    ids: NDArray[np.int64], lengths: NDArray[np.int64], start: int, stop: int, depth: int
) -> tuple[int, list[tuple[int, NDArray[np.int64]]]]:
    """Cost in tokens and the groups of sorted rows `start` to `stop`, whose first `depth` tokens are equal."""
    deepest = int(lengths[start:stop].min()) - 1  # an end is at least one token
    while depth < deepest and ids[start, depth] == ids[stop - 1, depth]:  # sorted: then all are equal
        depth += 1
    staying = np.ones(stop - start, np.bool_)
    cost = 0
    groups: list[tuple[int, NDArray[np.int64]]] = []
    if depth < deepest:
        column = ids[start:stop, depth]
        borders = [0, *(np.flatnonzero(column[1:] != column[:-1]) + 1), stop - start]
        for low, high in pairwise(borders):
            if high - low > 1:  # would these rows rather share more among themselves?
                own_cost, own = _best(ids, lengths, start + low, start + high, depth + 1)
                if own_cost < int(lengths[start + low : start + high].sum()) - depth * (high - low):
                    staying[low:high] = False
                    cost, groups = cost + own_cost, groups + own
    rows = start + np.flatnonzero(staying)
    if len(rows):
        whole = RUN + int(lengths[rows].sum())
        sharing = 2 * RUN + depth + int(lengths[rows].sum()) - depth * len(rows)
        groups = [*groups, (depth if sharing < whole else 0, rows)]
        cost += min(whole, sharing)
    return cost, groups


def shares_beginnings(checkpoint: Checkpoint) -> bool:
    """Whether the text tower can run what texts begin with apart."""
    words = checkpoint.spec.text
    return checkpoint.exports is None and isinstance(words, TextSpec) and words.trims


def no_past(words: Any) -> NDArray[np.float32]:
    """What no tokens leave behind in a text transformer: [layers, 2, heads, 0, width/heads]."""
    return np.zeros((words.layers, 2, words.heads, 0, words.width // words.heads), np.float32)
