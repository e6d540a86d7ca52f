"""A store: vectors and their metadata on disk, searched by nearness and filtered by metadata."""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import progress
from anmok.errors import FingerprintMismatch, QueryError, StoreDamaged, StoreError
from anmok.files import sync_folder
from anmok.store import repair, table
from anmok.store.database import DATABASE, Database, create_database, from_json, from_key, to_json, to_key
from anmok.store.documents import Documents
from anmok.store.exact import pairs
from anmok.store.filters import condition
from anmok.store.index import INDEX
from anmok.store.keeper import IndexKeeper
from anmok.store.rows import LARGEST_ID, count_rows, pack, read_rows, unit_rows, unpack
from anmok.store.salvage import recover
from anmok.store.searcher import Searcher
from anmok.store.types import Item, Match, Pair, StoreLimits, StoreStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from anmok.store.repair import CheckReport
    from anmok.store.salvage import RecoverReport
    from anmok.store.types import Where

    Batch = tuple[list[str], NDArray[np.float32], list[dict[str, Any]]]  # keys, vectors [n, d], metadata

__all__ = ["Store"]

PAIR_NEIGHBOURS = 32  # of each row that the index is asked for, above `exact_rows`


class Store:
    """Vectors with a text key and JSON metadata, in a folder `NAME.anmok/`.

    `store.sqlite` is the truth, `index.usearch` an index that can be built from it at any time.
    Vectors are kept at unit length in half precision; scores are cosines. Several processes may
    open a store: one writes at a time, readers see what was committed on their next call. A
    write that has returned is on the disk. Threads may share one object; processes may not.

        >>> store = Store.open("colors.anmok", dimension=2, create=True)
        >>> store.upsert(["red", "blue"], [[1, 0], [0, 1]], [{"warm": True}, {"warm": False}])
        >>> store.search([[0.9, 0.1]], top=1)[0][0].key
        'red'
    """

    def __init__(self, database: Database, limits: StoreLimits) -> None:
        """Use `Store.open`."""
        self._database = database
        self._limits = limits
        meta = database.meta()
        try:
            self.dimension = int(meta["dimension"])
            self.contract: dict[str, Any] = json.loads(meta["contract"])
            store_id = str(meta["id"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreDamaged(
                f"{database.path} has lost what describes it ({error!r}): restore the last backup,"
                f" or anmok store recover {database.path.parent}"
            ) from error
        self._keeper = IndexKeeper(database, store_id, self.dimension, limits)
        self._searcher = Searcher(database, self._keeper)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        dimension: int | None = None,
        create: bool = False,
        contract: Mapping[str, Any] | None = None,
        readonly: bool = False,
        limits: StoreLimits | None = None,
    ) -> Self:
        """Open a store, or make one.

        Args:
            path: its folder.
            dimension: length of the vectors; needed to create, checked otherwise.
            create: make the store where there is none yet.
            contract: what the vectors mean (a fingerprint, for example). Kept at creation; must be the same later.
            readonly: never write, so that no right to write is needed.
            limits: sizes at which the store changes its ways.

        Raises:
            StoreError: there is no store, or its dimension is another one.
            StoreTooNew: a newer version wrote it.
            StoreDamaged: it is not a database any more.
            FingerprintMismatch: the contract is another one; both are named.
        """
        folder, limits = Path(path), limits or StoreLimits()
        if not (folder / DATABASE).exists():
            _create(folder, dimension, contract or {}, create and not readonly)
        database = Database(folder, readonly=readonly, busy_timeout_s=limits.busy_timeout_s)
        try:
            store = cls(database, limits)
            store._check_dimension(dimension)
            store._check_contract(contract)
        except BaseException:
            database.close()
            raise
        return store

    @staticmethod
    def recover(path: str | Path, *, contract: Mapping[str, Any] | None = None) -> RecoverReport:
        """Save the readable rows of a damaged store; see `anmok.store.salvage`."""
        return recover(path, contract=contract)

    def close(self) -> None:
        """Let go of the files."""
        with self._database.lock:
            self._searcher.close()
            self._keeper.close()
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}, dimension={self.dimension})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self._database.path.parent

    @property
    def generation(self) -> int:
        """Number of commits so far that changed something; the same number means the same content."""
        return self._database.generation

    # Rows

    def __len__(self) -> int:
        return count_rows(self._database)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and bool(
            self._database.execute("SELECT 1 FROM items WHERE key = ?", (to_key(key),))
        )

    def upsert(
        self, keys: Sequence[str], vectors: ArrayLike, metadata: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Write rows, all or none: new keys are added, known ones get the new vector and metadata.

        A key that is given twice counts as written twice: its last row stays.

        Args:
            keys: [n] any text.
            vectors: [n, d] of any length but zero; they are scaled to unit length.
            metadata: [n] JSON objects; None stands for empty ones.

        Raises:
            StoreError: shapes do not fit, a vector is zero or not finite, or metadata is no JSON
                object; names the key.
            StoreBusy: another process is writing.
        """
        keys = _checked_keys(keys)
        metadata = [{}] * len(keys) if metadata is None else metadata
        if len(metadata) != len(keys):
            raise StoreError(f"{len(keys)} keys were given with {len(metadata)} metadata")
        rows = unit_rows(vectors, self.dimension, [repr(key) for key in keys])
        texts = [_object_text(value, key) for key, value in zip(keys, metadata, strict=True)]
        wanted = {key: (blob, text) for key, blob, text in zip(keys, pack(rows), texts, strict=True)}
        if not wanted:
            return
        with self._database.transaction():
            table.write(self._database, wanted)
        self._refresh_when_doubled()

    def delete(self, keys: Sequence[str]) -> int:
        """Delete rows; keys that are not there are left alone. Returns how many were deleted."""
        keys = _checked_keys(keys)
        with self._database.transaction():
            return table.delete(self._database, [row[0] for row in table.stored(self._database, keys)])

    def get(self, keys: Sequence[str]) -> list[Item | None]:
        """Rows by key, in the order asked for; None for a key that is not there."""
        keys = _checked_keys(keys)
        with self._database.reading():
            stored = table.stored(self._database, keys)
        vectors = unpack([row[2] for row in stored], self.dimension, self._database)
        items = {
            row[1]: Item(from_key(row[1]), vector, from_json(row[3]))
            for row, vector in zip(stored, vectors, strict=True)
        }
        return [items.get(to_key(key)) for key in keys]

    def ids(self, keys: Sequence[str]) -> list[int | None]:
        """A number for each row, by key, 1 or more; None for a key that is not there.

        It stays while the row keeps its vector, whatever else is written, and is never given to another row.
        """
        keys = _checked_keys(keys)
        numbers = {row[1]: row[0] for row in table.stored(self._database, keys)}
        return [numbers.get(to_key(key)) for key in keys]

    def keys_of(self, ids: Sequence[int]) -> list[str | None]:
        """The reverse of `ids`: keys by number, None for a number that no row has."""
        possible = np.array([number for number in ids if 0 < number <= LARGEST_ID], np.int64)
        rows = table.keys_and_metadata(self._database, possible)
        return [rows[number][0] if number in rows else None for number in ids]

    def keys(self, where: Where | None = None) -> list[str]:
        """Keys of all rows that the filter allows, those stored first first."""
        return table.keys(self._database, condition(where))

    def count(self, where: Where | None = None) -> int:
        """How many rows the filter allows."""
        return table.count(self._database, condition(where))

    def page(
        self, skip: int, top: int, *, prefix: str = "", field: str
    ) -> tuple[int, list[tuple[str, dict[str, Any]]]]:
        """Some rows without their vectors, in the order of a field of their metadata.

        Args:
            skip: how many are left out first.
            top: how many there are at most.
            prefix: what keys begin with.
            field: of the metadata, a number or a text.

        Returns:
            How many keys begin so in all; and [(key, metadata)].
        """
        with self._database.reading():
            total, rows = table.page(self._database, prefix, field, min(skip, LARGEST_ID), min(top, LARGEST_ID))
        return total, [(key, from_json(metadata)) for key, metadata in rows]

    def scan(self, where: Where | None = None, batch: int = 1024) -> Iterator[Batch]:
        """All rows that the filter allows, in batches: (keys, vectors float32 [n, d], metadata).

        The store may be changed meanwhile: rows written after the scan began are left out, and
        every other row comes once at most.
        """
        if batch < 1:
            raise QueryError(f"batch is {batch}, expected 1 or more")
        return self._batches(table.scan(self._database, condition(where), batch))

    def _batches(self, pages: Iterable[list[table.Row]]) -> Iterator[Batch]:
        for rows in pages:
            vectors = unpack([row[2] for row in rows], self.dimension, self._database)
            yield [from_key(row[1]) for row in rows], vectors, [from_json(row[3]) for row in rows]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything inside together, or nothing where an error leaves the block. May be nested."""
        with self._database.transaction():
            yield
        self._refresh_when_doubled()

    def documents(self, name: str) -> Documents:
        """A durable mapping from text keys to JSON values, beside the rows and in the same transactions."""
        return Documents(self._database, name)

    # Search

    def search(
        self, vectors: ArrayLike, top: int, *, where: Where | None = None, exact: bool | None = None
    ) -> list[list[Match]]:
        """The rows nearest to each query, best first; of equal scores the row stored first.

        Args:
            vectors: queries [q, d], or one query [d]; scaled to unit length.
            top: how many rows for each; fewer come back only where fewer are there.
            where: a filter, see `anmok.store.filters`.
            exact: True compares all rows, False asks the index, None decides by the number of rows.

        Raises:
            QueryError: a query has another dimension, is zero or not finite, or the filter cannot be read.
        """
        if top < 1:
            raise QueryError(f"top is {top}, expected 1 or more")
        queries = self._queries(vectors)
        if not len(queries):
            return []
        self._searcher.prepare(exact)
        with self._searching():
            allowed = self._searcher.allowed(condition(where)) if where else None
            rankings = self._searcher.search(queries, top, allowed, exact)
            found = np.unique(np.concatenate([ids for _, ids in rankings]))
            rows = table.keys_and_metadata(self._database, found)
        return [
            [Match(rows[number][0], score, from_json(rows[number][1])) for score, number in zip(*lists, strict=True)]
            for lists in ((scores.tolist(), ids.tolist()) for scores, ids in rankings)
        ]

    def sample(self, count: int) -> NDArray[np.float32]:
        """Vectors of rows drawn at random, float32 [n, d]: always the same for the same rows, about `count`, or all."""
        with self._searching():
            if len(self) <= count:
                return self._searcher.snapshot()[1]
            last = self._database.last_id
            share = len(self) / max(1, last)  # ids of deleted rows are never given again
            wanted = np.random.default_rng(0).integers(1, last + 1, min(int(count / share), 16 * count))
            return read_rows(self._database, self.dimension, np.unique(wanted))[1]

    def recall(self, queries: ArrayLike, top: int) -> float:
        """Share of the exact `top` results that `search` finds by its own way, 0..1; 1 where it is exact."""
        hits = total = 0
        for found, truth in zip(self.search(queries, top), self.search(queries, top, exact=True), strict=True):
            worst = truth[-1].score if truth else 0.0  # equal scores are as good
            total += len(truth)
            hits += sum(match.score >= worst for match in found)
        return hits / total if total else 1.0

    def pairs_above(self, threshold: float) -> Iterator[Pair]:
        """All pairs of rows whose cosine is at least `threshold`, each once.

        Exact up to `limits.exact_rows` rows. Above, each row is compared with its nearest
        32 as the index knows them: members of larger groups are still linked by others.
        """
        if len(self) > self._limits.exact_rows:
            yield from self._neighbour_pairs(threshold)
            return
        with self._database.reading():
            ids, rows = self._searcher.snapshot()
            names = {number: key for number, (key, _) in table.keys_and_metadata(self._database, ids).items()}
        for first, second, score in pairs(ids, rows, threshold, self._limits.block_rows // 4 or 1):
            yield Pair(names[first], names[second], score)

    def _neighbour_pairs(self, threshold: float) -> Iterator[Pair]:
        seen: set[tuple[str, str]] = set()
        with progress.task("comparing pairs", len(self)) as advance:
            for keys, vectors, _ in self.scan(batch=256):
                for key, matches in zip(keys, self.search(vectors, PAIR_NEIGHBOURS + 1), strict=True):
                    for match in matches:
                        pair = (min(key, match.key), max(key, match.key))
                        if match.key != key and match.score >= threshold and pair not in seen:
                            seen.add(pair)
                            yield Pair(*pair, match.score)
                advance(len(keys))

    # Care

    def stats(self) -> StoreStats:
        """Size and state."""
        with self._searching():
            index = self._keeper.current()
            sizes = [file.stat().st_size if file.exists() else 0 for file in (self._database.path, self.path / INDEX)]
            return StoreStats(
                rows=len(self),
                dimension=self.dimension,
                generation=self.generation,
                database_bytes=sizes[0],
                index_bytes=sizes[1],
                indexed=index.stamp.rows if index else 0,
                newer=count_rows(self._database, index.stamp.last_id if index else 0),
            )

    def refresh_index(self) -> None:
        """Bring the index up to date if the store is large enough to need one. Good after adding many rows.

        Other threads and processes search meanwhile. Where this one is killed, the next goes on where it was.
        """
        if len(self) > self._limits.exact_rows:
            waits = not self._database.in_transaction  # a builder may be waiting for the end of it
            self._keeper.refresh(self._limits.tail_share, wait=waits)

    def rebuild_index(self) -> None:
        """Build the index anew from the database, whatever the size of the store.

        Raises:
            StoreError: the store is open to read only, or inside a transaction, or the index cannot be written.
        """
        if self._database.readonly or self._database.in_transaction:
            raise StoreError(f"the index of {self.path} cannot be built while reading only or inside a transaction")
        try:
            self._keeper.rebuild()
        except OSError as error:
            raise StoreError(f"the index of {self.path} cannot be written: {error}") from error

    def check(self) -> CheckReport:
        """Look at everything: the database's structure, every vector, and the index against them."""
        return repair.check(self._database, self._keeper)

    def compact(self) -> int:
        """Give the room of deleted rows back to the disk, and build the index anew. Returns bytes freed."""
        return repair.compact(self._database, self._keeper)

    def backup(self, path: str | Path) -> None:
        """Copy the committed state to a new store at `path`, while this one is in use.

        The copy appears under its name when it is whole, and is a store of its own: open it, or put
        it in the place of this one. The index is not copied; it is built when needed.

        Raises:
            StoreError: there is something at `path` already.
        """
        repair.backup(self._database, Path(path))

    # Inside

    @contextmanager
    def _searching(self) -> Iterator[None]:
        """One state of the store, and the index file mapped before that state was fixed."""
        with self._database.lock:
            self._keeper.map()
            with self._database.reading():
                yield

    def _check_dimension(self, dimension: int | None) -> None:
        if dimension is not None and dimension != self.dimension:
            raise StoreError(f"{self.path} holds vectors of {self.dimension} dimensions, not {dimension}")

    def _check_contract(self, contract: Mapping[str, Any] | None) -> None:
        if contract is None:
            return
        given = json.loads(to_json(dict(contract), "the contract"))
        names = sorted(name for name in {*given, *self.contract} if given.get(name) != self.contract.get(name))
        if names:
            differences = ", ".join(
                f"{name} {self.contract.get(name)!r} here and {given.get(name)!r} there" for name in names
            )
            raise FingerprintMismatch(
                f"{self.path} was made with another contract than it is opened with now: {differences}."
                " Open it with what made it, or fill a new store"
            )

    def _queries(self, vectors: ArrayLike) -> NDArray[np.float32]:
        try:
            queries = np.asarray(vectors, np.float64)
        except (TypeError, ValueError) as error:
            raise QueryError(f"queries must be numbers [q, {self.dimension}]: {error}") from error
        queries = queries[None] if queries.ndim == 1 and queries.size else queries
        try:
            return unit_rows(queries, self.dimension, [f"query {number}" for number in range(len(queries))])
        except StoreError as error:
            raise QueryError(str(error)) from error

    def _refresh_when_doubled(self) -> None:
        """While many rows are added, keep the index within half of them, at a cost that grows with them only."""
        if self._database.in_transaction or self._database.last_id <= self._limits.exact_rows:
            return
        if len(self) > self._limits.exact_rows:
            self._keeper.refresh(0.5, wait=False)


def _create(folder: Path, dimension: int | None, contract: Mapping[str, Any], allowed: bool) -> None:
    """Make an empty store in a new or empty folder."""
    present = sorted(file.name for file in folder.iterdir() if file.suffix != ".tmp") if folder.is_dir() else []
    if any(name.startswith((DATABASE, INDEX)) for name in present):
        raise StoreDamaged(
            f"{folder} has lost its {DATABASE}: restore the last backup (of what is left, {', '.join(present)},"
            " no row can be read)"
        )
    if not allowed:
        raise StoreError(f"there is no store at {folder}. Check the path, or create it (create=True, anmok index)")
    if present or (folder.exists() and not folder.is_dir()):
        raise StoreError(f"{folder} is not empty and not a store: choose another path")
    if dimension is None or dimension < 1:
        raise StoreError(f"a new store needs the dimension of its vectors, 1 or more, not {dimension}")
    meta = {"id": uuid.uuid4().hex, "dimension": dimension, "contract": to_json(dict(contract), "the contract")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}") from error
    create_database(folder / DATABASE, meta)


def _checked_keys(keys: Sequence[str]) -> list[str]:
    if isinstance(keys, str):
        raise StoreError(f"keys must be a list of texts; for one key write [{keys!r}]")
    listed = list(keys)
    for key in listed:
        if not isinstance(key, str):
            raise StoreError(f"keys are text, not {type(key).__name__} ({key!r})")
    return listed


def _object_text(value: Mapping[str, Any], key: str) -> str:
    try:
        listed = dict(value)
    except (TypeError, ValueError) as error:
        raise StoreError(f"the metadata of {key!r} must be a mapping, not {type(value).__name__}") from error
    return to_json(listed, f"the metadata of {key!r}")
