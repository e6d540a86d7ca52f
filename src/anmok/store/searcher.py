"""Which way a search goes: compare all rows, only those a filter allows, or ask the index and re-rank.

Whatever the way, a search returns `top` rows where so many exist, and their scores come from the
database's vectors. Rows newer than the index are compared exactly; rows deleted since are not in
the database any more and drop out when the candidates are read from it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import progress
from anmok.store import index as files
from anmok.store import table
from anmok.store.exact import best, cosines, nearest
from anmok.store.index import IndexUnusable, Stamp, VectorIndex
from anmok.store.rows import RowCache, count_rows, read_blocks, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from anmok.store.database import Database
    from anmok.store.exact import Ranking
    from anmok.store.filters import Condition
    from anmok.store.rows import Block, Ids, Vectors
    from anmok.store.types import StoreLimits

__all__ = ["Searcher"]

log = logging.getLogger("anmok.store")

QUERIES_AT_ONCE = 256
FIRST_FETCH = 64  # candidates of the index that are re-ranked, at least
FETCH_PER_RESULT = 4
MOST_FETCH = 4096  # beyond, comparing the rows themselves is the shorter way
FILTERS_KEPT = 8
DEAD_SHARE = 0.25  # deleted rows that a graph may carry before it is built anew


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
    """Finds rows of one store. Owns the mapped index and the rows kept in memory."""

    def __init__(self, folder: Path, database: Database, store: str, dimension: int, limits: StoreLimits) -> None:
        self.folder = folder
        self.database = database
        self.store = store
        self.dimension = dimension
        self.limits = limits
        self._cache = RowCache(dimension)
        self._index: VectorIndex | None = None
        self._cannot_write = False
        self._refused: tuple[int, ...] | None = None  # signature of an index file that cannot be used
        self._told: set[tuple[str, ...]] = set()
        self._counted: tuple[tuple[int, ...], int] = ((), 0)
        self._filtered: tuple[tuple[int, ...], dict[tuple[Any, ...], Ids]] = ((), {})

    def close(self) -> None:
        """Unmap the index and forget the rows."""
        self.close_index()
        self._cache.clear()

    def search(self, queries: Vectors, top: int, allowed: Ids | None, exact: bool | None) -> list[Ranking]:
        """Scores and ids of the `top` nearest rows to each query; `allowed` are the ids a filter leaves."""
        rankings: list[Ranking] = []
        plan = _Plan(self._index_for(exact), allowed)
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

    def rows(self) -> int:
        """How many rows there are."""
        state = self._state()
        if self._counted[0] != state:
            self._counted = (state, count_rows(self.database))
        return self._counted[1]

    def allowed(self, wanted: Condition) -> Ids:
        """Ids of the rows that a filter leaves, ascending; those of the last filters are known until a row changes."""
        state, (sql, values) = self._state(), wanted
        if self._filtered[0] != state:
            self._filtered = (state, {})
        kept = self._filtered[1]
        key = (sql, *values)
        if key not in kept:
            if len(kept) == FILTERS_KEPT:
                del kept[next(iter(kept))]
            kept[key] = table.ids(self.database, wanted)
        return kept[key]

    def _state(self) -> tuple[int, ...]:
        """Changes whenever a row of the database may have."""
        return self.database.generation, self.database.changes, self.database.rollbacks

    def snapshot(self) -> Block:
        """All rows in memory; the caller sees to it that they are not too many."""
        return self._cache.refresh(self.database, 0, self.limits.block_rows)

    def _index_for(self, exact: bool | None) -> VectorIndex | None:
        rows = self.rows()
        if exact or rows == 0 or (exact is None and rows <= self.limits.exact_rows):
            return None
        return self.refresh_index(self.limits.tail_share)

    def _blocks(self, above: int, allowed: Ids | None) -> Iterator[Block]:
        """The rows above an id, from memory where they fit, as far as they are allowed."""
        rows_in_memory = self.limits.cache_bytes // (4 * self.dimension)
        newer = self.rows() if above == 0 else count_rows(self.database, above)
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
            available = self.rows() - count_rows(self.database, index.stamp.last_id)
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

    def map_index(self) -> None:
        """Map the index file as it is on disk now. The log says why where it cannot be used.

        Called before the database's state is fixed for a search, so that the file is never newer than
        that state; one that still is belongs to a database that was put back to an older copy.
        """
        signature = files.signature(self.folder)
        if self._index is not None and self._index.signature == signature:
            return
        self.close_index()
        if signature is None or signature == self._refused:
            return
        try:
            self._index = VectorIndex(self.folder, self.store, self.dimension, note=not self.database.readonly)
        except IndexUnusable as error:
            self._refused = signature
            self._tell("the index of %s cannot be used: %s", self.folder, error)

    def current_index(self) -> VectorIndex | None:
        """The mapped index, if it stands for this database."""
        if self._index is None:
            return None
        stamp = self._index.stamp
        if stamp.last_id > self.database.last_id or stamp.generation > self.database.generation:
            self._tell("the index of %s cannot be used: it is newer than the database", self.folder)
            self._refused = self._index.signature
            self.close_index()
        return self._index

    def close_index(self) -> None:
        """Unmap the index file."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def refresh_index(self, tail_share: float) -> VectorIndex | None:
        """The index, built or extended first where more than `tail_share` of the rows are newer.

        None where there is none and none can be written; searches then compare all rows.
        """
        index = self.current_index()
        rows = self.rows()
        newer = count_rows(self.database, index.stamp.last_id) if index else rows
        if index is not None and newer <= tail_share * rows:
            return index
        if self.database.readonly or self.database.in_transaction or self._cannot_write:
            if index is None:
                self._tell("%s has no usable index; every row is compared until one can be written", self.folder)
            return index
        dead = index.stamp.rows - (rows - newer) if index else 0
        anew = index is None or dead > DEAD_SHARE * index.stamp.rows
        try:
            self.write_index(anew=anew)
        except OSError as error:
            self._cannot_write = True  # not again for every search of this object
            self._tell("the index of %s cannot be written: %s", self.folder, error)
            self.map_index()
        return self.current_index()

    def write_index(self, *, anew: bool) -> None:
        """Build the index anew or add the newer rows to it, and map it.

        Raises:
            OSError: it cannot be written.
        """
        old = None if anew or self._index is None else self._index.stamp
        stamp = Stamp(self.store, self.database.generation, self.dimension, self.database.last_id, rows=0)
        log.info("%s the index of %s", "extending" if old else "building", self.folder)
        self.close_index()
        built = None
        if old is not None:
            try:
                built = files.extend(self.folder, old, stamp, self._with_progress(old.last_id))
            except IndexUnusable as error:  # another process was at it
                self._tell("the index of %s cannot be extended and is built anew: %s", self.folder, error)
        graph, stamp = built or files.build(stamp, self._with_progress(0))
        files.write(self.folder, graph, stamp)
        self.map_index()

    def _with_progress(self, above: int) -> Iterator[Block]:
        with progress.task("building the index", count_rows(self.database, above)) as advance:
            for ids, rows in read_blocks(self.database, self.dimension, above=above, block_rows=self.limits.block_rows):
                yield ids, rows
                advance(len(ids))

    def _tell(self, message: str, *values: object) -> None:
        """Warn, but not again and again about the same."""
        said = (message, *map(str, values))
        if said not in self._told:
            self._told.add(said)
            log.warning(message, *values)
