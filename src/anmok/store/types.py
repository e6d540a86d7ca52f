"""What a store takes and gives back, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Where = Mapping[str, Any]  # see filters.py

__all__ = ["Item", "Json", "Match", "Pair", "StoreLimits", "StoreStats"]

Json: TypeAlias = Any  # what JSON can carry: mappings, lists, text, numbers, booleans, None


@dataclass(frozen=True)
class StoreLimits:
    """Where a store changes its ways. The defaults suit one machine; tests make them small.

    `exact_rows`: up to this many rows a search compares all of them; above, it asks the index.
    `tail_share`: the index is refreshed when more than this share of the rows is newer than it.
    `cache_bytes`: rows that are compared exactly are kept in memory up to this size, and read
        from disk block by block above it.
    `block_rows`: rows compared at once.
    `busy_timeout_s`: seconds that a writer waits for another one.
    """

    exact_rows: int = 50_000
    tail_share: float = 0.1
    cache_bytes: int = 256 << 20
    block_rows: int = 8192
    busy_timeout_s: float = 10.0


@dataclass(frozen=True)
class Match:
    """One row that a search found. `score`: cosine of the query and the stored vector, about -1..1."""

    key: str
    score: float
    metadata: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Item:
    """One row. `vector`: float32 [d], unit length."""

    key: str
    vector: NDArray[np.float32]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two rows and their cosine; `first` was stored before `second`."""

    first: str
    second: str
    score: float


@dataclass(frozen=True)
class StoreStats:
    """Size and state of a store.

    `rows`: how many there are. `generation`: commits so far. `dimension`: of the vectors.
    `database_bytes`, `index_bytes`: on disk. `indexed`: rows that the index holds, 0 without one.
    `newer`: rows newer than the index, which are compared exactly.
    """

    rows: int
    dimension: int
    generation: int
    database_bytes: int
    index_bytes: int
    indexed: int
    newer: int
