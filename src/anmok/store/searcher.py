"""Which way a search goes: compare all rows, only those a filter allows, or ask the index and re-rank.

Whatever the way, a search returns `top` rows where so many exist, and their scores come from the
database's vectors. Rows newer than the index are compared exactly; rows deleted since are not in
the database any more and drop out when the candidates are read from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.store import table
from anmok.store.exact import best, cosines, nearest
from anmok.store.rows import RowCache, count_rows, read_blocks, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.store.database import Database
    from anmok.store.exact import Ranking
    from anmok.store.filters import Condition
    from anmok.store.index import VectorIndex
    from anmok.store.keeper import IndexKeeper
    from anmok.store.rows import Block, Ids, Vectors

__all__ = ["Searcher"]

QUERIES_AT_ONCE = 256
FIRST_FETCH = 64  # candidates of the index that are re-ranked, at least
FETCH_PER_RESULT = 4
MOST_FETCH = 4096  # beyond, comparing the rows themselves is the shorter way
FILTERS_KEPT = 8


@dataclass(frozen=True)
class _Plan:
    """The rows that one search may return. `allowed` is None where there is no filter."""

    index: VectorIndex | None
    allowed: Ids | None

    @property
    def above(self) -> int:
        """Rows above this id are not in the index."""
        return self.index.stamp.last_id if self.index else 0


class Searcher:
    """Finds rows of one store. Owns the rows kept in memory."""

    def __init__(self, database: Database, keeper: IndexKeeper) -> None:
        self.database = database
        self.keeper = keeper
        self.dimension = keeper.dimension
        self.limits = keeper.limits
        self._cache = RowCache(self.dimension)
        self._filtered: tuple[tuple[int, ...], dict[tuple[Any, ...], Ids]] = ((), {})

    def close(self) -> None:
        """Forget the rows."""
        self._cache.clear()

    def prepare(self, exact: bool | None) -> None:
        """Before a search, outside of any transaction: build or extend the index where the search wants it."""
        if self._asks_index(exact):
            self.keeper.refresh(self.limits.tail_share, wait=False)

    def search(self, queries: Vectors, top: int, allowed: Ids | None, exact: bool | None) -> list[Ranking]:
        """Scores and ids of the `top` nearest rows to each query; `allowed` are the ids a filter leaves."""
        rankings: list[Ranking] = []
        plan = _Plan(self.keeper.current() if self._asks_index(exact) else None, allowed)
        for start in range(0, len(queries), QUERIES_AT_ONCE):
            some = queries[start : start + QUERIES_AT_ONCE]
            found = nearest(some, self._blocks(plan.above, allowed), top)
            if plan.index is not None:
                indexed = self._search_index(plan.index, some, top, allowed)
                found = [
                    best(np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]]), top)
                    for a, b in zip(found, indexed, strict=True)
                ]
            rankings += found
        return rankings

    def allowed(self, wanted: Condition) -> Ids:
        """Ids of the rows that a filter leaves, ascending; those of the last filters are known until a row changes."""
        state, (sql, values) = self.database.state, wanted
        if self._filtered[0] != state:
            self._filtered = (state, {})
        kept = self._filtered[1]
        key = (sql, *values)
        if key not in kept:
            if len(kept) == FILTERS_KEPT:
                del kept[next(iter(kept))]
            kept[key] = table.ids(self.database, wanted)
        return kept[key]

    def snapshot(self) -> Block:
        """All rows in memory; the caller sees to it that they are not too many."""
        return self._cache.refresh(self.database, 0, self.limits.block_rows)

    def _asks_index(self, exact: bool | None) -> bool:
        rows = self.database.rows()
        return not exact and rows > (self.limits.exact_rows if exact is None else 0)

    def _blocks(self, above: int, allowed: Ids | None) -> Iterator[Block]:
        """The rows above an id, from memory where they fit, as far as they are allowed."""
        rows_in_memory = self.limits.cache_bytes // (4 * self.dimension)
        newer = count_rows(self.database, above)
        step = self.limits.block_rows
        if allowed is not None:
            allowed = allowed[np.searchsorted(allowed, above, side="right") :]
        if newer <= rows_in_memory:
            ids, vectors = self._cache.refresh(self.database, above, step)
            places = np.arange(len(ids)) if allowed is None else np.flatnonzero(np.isin(ids, allowed))
            for start in range(0, len(places), step):
                some = slice(start, start + step) if allowed is None else places[start : start + step]
                yield ids[some], vectors[some]
        elif allowed is not None:
            for start in range(0, len(allowed), step):
                yield read_rows(self.database, self.dimension, allowed[start : start + step])
        else:
            yield from read_blocks(self.database, self.dimension, above=above, block_rows=step)

    # The index

    def _search_index(self, index: VectorIndex, queries: Vectors, top: int, allowed: Ids | None) -> list[Ranking]:
        """The nearest of the rows that the index holds, scored by the database's vectors."""
        if allowed is None:
            available = self.database.rows() - count_rows(self.database, index.stamp.last_id)
            share = available / max(1, index.stamp.rows)
        else:
            allowed = allowed[: np.searchsorted(allowed, index.stamp.last_id, side="right")]
            available = len(allowed)
            share = available / max(1, index.stamp.rows)
            if available <= self.limits.exact_rows:
                return self._compare(queries, top, allowed, index)
        wanted = min(top, available)
        rankings: list[Ranking | None] = [None] * len(queries)
        fetch = int(max(FIRST_FETCH, FETCH_PER_RESULT * top) / max(share, 1e-9))
        while wanted and fetch <= MOST_FETCH and any(ranking is None for ranking in rankings):
            waiting = [number for number, ranking in enumerate(rankings) if ranking is None]
            keys = index.search(queries[waiting], min(fetch, index.stamp.rows))
            for number, (scores, ids) in zip(waiting, self._rerank(queries[waiting], keys, allowed), strict=True):
                # a last place that ties with the worst candidate may tie with rows that were not fetched
                if len(ids) == available or (len(ids) > wanted and scores[wanted - 1] > scores[-1]):
                    rankings[number] = scores[:top], ids[:top]
            fetch *= 4
        left = [number for number, ranking in enumerate(rankings) if ranking is None]
        for number, ranking in zip(left, self._compare(queries[left], top, allowed, index), strict=True):
            rankings[number] = ranking
        return [ranking for ranking in rankings if ranking is not None]

    def _rerank(self, queries: Vectors, keys: Ids, allowed: Ids | None) -> list[Ranking]:
        """Candidates of the index [q, c] → rankings of all of them by the vectors that the database holds for them."""
        candidates = np.unique(keys[keys > 0])
        if allowed is not None:
            candidates = candidates[np.isin(candidates, allowed, assume_unique=True)]
        ids, rows = read_rows(self.database, self.dimension, candidates)
        rankings = []
        for query, near in zip(queries, keys, strict=True):
            places = np.searchsorted(ids, near)
            places = places[ids.take(places, mode="clip") == near] if len(ids) else places[:0]
            rankings.append(best(cosines(query, rows[places]), ids[places], len(places)))
        return rankings

    def _compare(self, queries: Vectors, top: int, allowed: Ids | None, index: VectorIndex) -> list[Ranking]:
        """The rows that the index holds, all compared: the way that always finds what there is."""
        if not len(queries):
            return []
        step = self.limits.block_rows
        if allowed is not None:
            cuts = range(0, len(allowed), step)
            blocks = (read_rows(self.database, self.dimension, allowed[cut : cut + step]) for cut in cuts)
            return nearest(queries, blocks, top)
        last = index.stamp.last_id
        older = (
            (ids[ids <= last], rows[ids <= last])
            for ids, rows in read_blocks(self.database, self.dimension, above=0, block_rows=step)
        )
        return nearest(queries, older, top)
