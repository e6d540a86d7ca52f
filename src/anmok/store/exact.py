"""Exact nearest neighbours: every row is compared, block by block, in bounded memory.

A matrix product finds the candidates quickly, but its last bits depend on the shape of the
block. So each candidate is scored again by `cosines`, whose result depends on the two vectors
alone: equal vectors get equal scores, and an index that re-ranks with it agrees to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from anmok.store.rows import Block, Ids, Vectors

    Ranking = tuple[NDArray[np.float32], Ids]  # scores and ids, best first

__all__ = ["best", "cosines", "empty_ranking", "nearest", "pairs"]

MARGIN = 1e-5  # more than a float32 matrix product of unit vectors is ever off


def cosines(query: NDArray[np.float32], rows: Vectors) -> NDArray[np.float32]:
    """Inner products of one query [d] with rows [n, d], summed in double precision; float32 [n]."""
    products: NDArray[np.float64] = (rows.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return np.clip(products, -1, 1).astype(np.float32)


def empty_ranking() -> Ranking:
    """No results."""
    return np.empty(0, np.float32), np.empty(0, np.int64)


def best(scores: NDArray[np.float32], ids: Ids, top: int) -> Ranking:
    """The `top` highest scores, best first; of equal ones the row that was stored first."""
    order = np.lexsort((ids, -scores))[:top]
    return scores[order], ids[order]


def nearest(queries: Vectors, blocks: Iterable[Block], top: int) -> list[Ranking]:
    """The `top` rows nearest to each query.

    Args:
        queries: float32 [q, d], unit rows.
        blocks: ids and float32 unit rows.
        top: how many for each query; fewer where there are not so many rows.
    """
    rankings = [empty_ranking() for _ in queries]
    floors = np.full(len(queries), -np.inf, np.float32)  # score that a row must reach to matter
    for ids, rows in blocks:
        rough = queries @ rows.T  # [q, b]
        for number in np.flatnonzero(rough.max(axis=1, initial=-np.inf) >= floors - MARGIN):
            near = _candidates(rough[number], floors[number], top)
            scores, found = rankings[number]
            scores = np.concatenate([scores, cosines(queries[number], rows[near])])
            rankings[number] = best(scores, np.concatenate([found, ids[near]]), top)
            if len(rankings[number][0]) == top:
                floors[number] = rankings[number][0][-1]
    return rankings


def _candidates(rough: NDArray[np.float32], floor: float, top: int) -> NDArray[np.intp]:
    """Places in one row of rough scores that may belong to the `top` best."""
    if len(rough) > top:
        floor = max(floor, np.partition(rough, len(rough) - top)[len(rough) - top])
    return np.flatnonzero(rough >= floor - MARGIN)


def pairs(ids: Ids, rows: Vectors, threshold: float, block_rows: int) -> Iterator[tuple[int, int, float]]:
    """All pairs of rows whose cosine is at least `threshold`: (first id, second id, cosine), each once."""
    with progress.task("comparing pairs", len(ids)) as advance:
        for start in range(0, len(ids), block_rows):
            block = rows[start : start + block_rows]
            for other in range(start, len(ids), block_rows):
                rough = block @ rows[other : other + block_rows].T
                firsts, seconds = np.nonzero(rough >= threshold - MARGIN)
                firsts, seconds = firsts + start, seconds + other
                later = seconds > firsts
                for first, second in zip(firsts[later], seconds[later], strict=True):
                    score = float(cosines(rows[first], rows[second : second + 1])[0])
                    if score >= threshold:
                        yield int(ids[first]), int(ids[second]), score
                advance(0)
            advance(len(block))
