"""Keeps a store's index mapped and up to date, and holds nobody up meanwhile.

A graph is built from blocks of rows that are read one by one. An id stands for one vector for
ever, so whatever is written or deleted meanwhile does the graph no harm, and other threads search
between two blocks, by the index as it was. The first index of a store is put in place every
SAVED_EVERY rows: a process that is killed loses no more, and searches are quick before all is done.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

from anmok import progress
from anmok.store import index as files
from anmok.store.index import GrowingGraph, IndexUnusable, Stamp, VectorIndex
from anmok.store.rows import count_rows, read_blocks

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.store.database import Database
    from anmok.store.types import StoreLimits

__all__ = ["IndexKeeper"]

log = logging.getLogger("anmok.store")

SAVED_EVERY = 200_000  # rows, some minutes
DEAD_SHARE = 0.25  # deleted rows that a graph may carry before it is built anew


class IndexKeeper:
    """The index of one store: what is mapped now, whether it will do, and how it is built."""

    def __init__(self, database: Database, store: str, dimension: int, limits: StoreLimits) -> None:
        self.folder: Path = database.path.parent
        self.dimension = dimension
        self.limits = limits
        self._database = database
        self._store = store
        self._index: VectorIndex | None = None
        self._building = Lock()
        self._cannot_write = False
        self._refused: tuple[int, ...] | None = None  # signature of an index file that cannot be used
        self._told: set[tuple[str, ...]] = set()

    def close(self) -> None:
        """Unmap the index file."""
        with self._database.lock:
            if self._index is not None:
                self._index.close()
                self._index = None

    def map(self) -> None:
        """Map the index file as it is on disk now. The log says why where it cannot be used.

        Called before the database's state is fixed for a search, so that the file is never newer than
        that state; one that still is belongs to a database that was put back to an older copy.
        """
        with self._database.lock:
            signature = files.signature(self.folder)
            if self._index is not None and self._index.signature == signature:
                return
            self.close()
            if signature is None or signature == self._refused:
                return
            try:
                note = not self._database.readonly
                self._index = VectorIndex(self.folder, self._store, self.dimension, note=note)
            except IndexUnusable as error:
                self._refused = signature
                self._tell("the index of %s cannot be used: %s", self.folder, error)

    def current(self) -> VectorIndex | None:
        """The mapped index, if it stands for this database."""
        if self._index is None:
            return None
        stamp = self._index.stamp
        if stamp.last_id > self._database.last_id or stamp.generation > self._database.generation:
            self._tell("the index of %s cannot be used: it is newer than the database", self.folder)
            self._refused = self._index.signature
            self.close()
        return self._index

    def refresh(self, tail_share: float, *, wait: bool) -> None:
        """Build or extend the index where more than `tail_share` of the rows are newer and it can be written.

        Args:
            tail_share: 0..1.
            wait: for another thread that is at it already; otherwise go on with the index as it is.
        """
        if not self._building.acquire(blocking=wait):
            return
        try:
            anew = self._wanted(tail_share)
            if anew is not None:
                self._write(anew=anew)
        except OSError as error:
            self._cannot_write = True  # not again for every search of this object
            self._tell("the index of %s cannot be written: %s", self.folder, error)
        finally:
            self._building.release()

    def rebuild(self) -> None:
        """Build the index anew.

        Raises:
            OSError: it cannot be written.
        """
        with self._building:
            self.map()
            self._write(anew=True)

    def _wanted(self, tail_share: float) -> bool | None:
        """Whether to build anew (True) or to extend (False); None where the index will do, or has to."""
        with self._database.lock:
            self.map()
            index = self.current()
            rows = self._database.rows()
            newer = count_rows(self._database, index.stamp.last_id) if index else rows
            if index is not None and newer <= tail_share * rows:
                return None
            if self._database.readonly or self._database.in_transaction or self._cannot_write:
                if index is None:
                    self._tell("%s has no usable index; every row is compared until one can be written", self.folder)
                return None
            dead = index.stamp.rows - (rows - newer) if index else 0
            return index is None or dead > DEAD_SHARE * index.stamp.rows

    def _write(self, *, anew: bool) -> None:
        with self._database.lock:
            index = self.current()
            old = index.stamp if index and not anew else None
            replaces = index is not None and anew  # the one that is there serves until the new one is whole
            state = Stamp(self._store, self._database.generation, self.dimension, self._database.last_id, rows=0)
        log.info("%s the index of %s", "extending" if old else "building", self.folder)
        graph = self._opened(old) if old else None
        above = old.last_id if old and graph else 0
        graph = graph or GrowingGraph(self.dimension)
        saved = graph.rows
        with progress.task("building the index", count_rows(self._database, above)) as advance:
            for ids, rows in read_blocks(
                self._database, self.dimension, above=above, up_to=state.last_id, block_rows=self.limits.block_rows
            ):
                graph.add(ids, rows)
                advance(len(ids))
                if graph.rows - saved >= SAVED_EVERY and not replaces:
                    self._put_in_place(graph, replace(state, last_id=int(ids[-1])))
                    saved = graph.rows
        self._put_in_place(graph, state)

    def _opened(self, old: Stamp) -> GrowingGraph | None:
        try:
            return GrowingGraph.opened(self.folder, old)
        except IndexUnusable as error:  # another process was at it
            self._tell("the index of %s cannot be extended and is built anew: %s", self.folder, error)
            return None

    def _put_in_place(self, graph: GrowingGraph, stamp: Stamp) -> None:
        with graph.drafted(self.folder, stamp) as (draft, finished), self._database.lock:
            self.close()  # Windows replaces no file that is mapped
            try:
                files.put_in_place(self.folder, draft, finished)
            finally:
                self.map()

    def _tell(self, message: str, *values: object) -> None:
        """Warn, but not again and again about the same."""
        said = (message, *map(str, values))
        if said not in self._told:
            self._told.add(said)
            log.warning(message, *values)
