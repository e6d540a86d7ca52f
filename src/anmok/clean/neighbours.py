"""Which pictures lie near each other for the encoder: a few nearest neighbours of each, from vectors on disk.

The vectors are shared out over cells around centers (spherical k-means on a sample), each to its two nearest cells,
and compared within their cells only. A million compare in minutes where a graph index (HNSW, as the store has) takes
an hour to build, and nothing but one cell is in memory.

Source: Abbas et al. 2023, "SemDeDup", arXiv 2303.09540 (cells for near duplicates); Jegou et al. 2011, "Product
quantization for nearest neighbor search" (inverted files).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from anmok import progress
from anmok.embeddings import unit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Vectors: TypeAlias = NDArray[np.float16] | NDArray[np.float32]

__all__ = ["neighbour_pairs"]

CELL_ROWS = 1000  # in the mean; up to this many are compared with all others
MOST_ROWS = 16_000  # a larger cell, thousands of pictures of one thing, is cut, so that memory stays bounded
CELLS_OF_A_ROW = 2
SAMPLE_OF_A_CELL = 64
ROUNDS = 6
BLOCK = 8192


def neighbour_pairs(
    vectors: Vectors, rows: NDArray[np.int64], *, cosine: float, count: int = 8
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of rows of which one is among the `count` nearest of the other, in one of its cells.

    Args:
        vectors: unit vectors [m, d], also mapped from a file.
        rows: int64 [n], those that are looked at; a pair is two places in this list.
        cosine: at least this.
        count: neighbours of a row in a cell.

    Returns:
        i, j: int64 [p] each, i < j, sorted, each pair once.
    """
    n = len(rows)
    found = [np.empty(0, np.int64)]  # pairs as i * n + j
    with progress.task("comparing embeddings", 2 * n) as advance:
        cells = _cells(vectors, rows, advance)
        for places in cells:
            i, j = _near(vectors[rows[places]].astype(np.float32), cosine, count)
            found.append(np.minimum(places[i], places[j]) * n + np.maximum(places[i], places[j]))
            advance(len(places) // (CELLS_OF_A_ROW if len(cells) > 1 else 1))
    pairs = np.unique(np.concatenate(found))
    return pairs // max(n, 1), pairs % max(n, 1)


def _near(vectors: NDArray[np.float32], cosine: float, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the `count` nearest of each row, where they are near enough."""
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for start in range(0, len(vectors), BLOCK // 8):
        cosines = vectors[start : start + BLOCK // 8] @ vectors.T
        np.fill_diagonal(cosines[:, start:], -2)
        near = cosines >= cosine
        crowded = np.flatnonzero(near.sum(axis=1) > count)
        if len(crowded):
            nearest = np.argpartition(-cosines[crowded], count - 1, axis=1)[:, :count]
            near[crowded] = False
            near[crowded[:, None], nearest] = True
        i, j = np.nonzero(near)
        firsts.append(i + start)
        seconds.append(j)
    return np.concatenate(firsts), np.concatenate(seconds)


def _cells(vectors: Vectors, rows: NDArray[np.int64], advance: Callable[[int], None]) -> list[NDArray[np.int64]]:
    """The places of each cell, sorted."""
    n = len(rows)
    if n <= CELL_ROWS:
        advance(n)  # no centers, no sharing out
        return [np.arange(n)]
    centers = _centers(vectors, rows, -(-n // CELL_ROWS))
    chosen = np.empty((n, CELLS_OF_A_ROW), np.int32)
    for start in range(0, n, BLOCK):
        cosines = vectors[rows[start : start + BLOCK]].astype(np.float32) @ centers.T
        chosen[start : start + BLOCK] = np.argpartition(-cosines, CELLS_OF_A_ROW - 1, axis=1)[:, :CELLS_OF_A_ROW]
        advance(len(cosines))
    order = np.argsort(chosen.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(chosen.ravel(), minlength=len(centers)))
    cells = [places // CELLS_OF_A_ROW for places in np.split(order, ends[:-1])]
    return [cell[start : start + MOST_ROWS] for cell in cells for start in range(0, len(cell), MOST_ROWS)]


def _centers(vectors: Vectors, rows: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Spherical k-means on a sample, [count, d]; the same every time."""
    random = np.random.default_rng(0)
    chosen = np.sort(random.choice(rows, min(len(rows), SAMPLE_OF_A_CELL * count), replace=False))
    sample = vectors[chosen].astype(np.float32)
    centers: NDArray[np.float32] = sample[random.choice(len(sample), count, replace=False)]
    for _ in range(ROUNDS):
        nearest = np.concatenate([(part @ centers.T).argmax(axis=1) for part in np.array_split(sample, count)])
        order = np.argsort(nearest, kind="stable")
        filled, starts = np.unique(nearest[order], return_index=True)
        centers[filled] = unit(np.add.reduceat(sample[order], starts, axis=0))  # an empty cell keeps its center
    return centers
