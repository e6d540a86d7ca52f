"""The truth of a store: one SQLite file, its schema, its transactions, and what SQLite's errors mean.

Durability: write-ahead log with `synchronous=FULL`, so every commit is on the disk before it
is acknowledged; after a kill or a power loss the file holds a prefix of the commits, whole ones.

A row lives in two tables: `items` (key, metadata; small, so that filters read little) and
`vectors` (half precision, unit length). Ids only grow and are never used again, and a row
whose vector changes gets a new one. So an id stands for one vector for ever, and an index
over ids 1..N stays right whatever is written later. Keys are UTF-8 bytes that may hold lone
surrogates, because file names do.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import uuid
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anmok.errors import StoreBusy, StoreDamaged, StoreError, StoreFull, StoreTooNew
from anmok.files import sync_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from anmok.store.types import Json

__all__ = [
    "APPLICATION_ID",
    "DATABASE",
    "MIGRATIONS",
    "PAGE_BYTES",
    "Database",
    "create_database",
    "from_json",
    "from_key",
    "to_json",
    "to_key",
    "translated_errors",
]

DATABASE = "store.sqlite"
APPLICATION_ID = 0x616E6D6B  # "anmk", in the header of the file
MIGRATIONS: tuple[tuple[str, ...], ...] = (  # entry i takes a file of version i to version i + 1; never edit one
    (
        "CREATE TABLE meta (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value)",
        "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, metadata TEXT NOT NULL"
        " CHECK (json_valid(metadata)))",
        "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        "CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT NOT NULL, key BLOB NOT NULL, value TEXT NOT NULL,"
        " UNIQUE (name, key))",
        "INSERT INTO meta (name, value) VALUES ('generation', 0)",
    ),
)
PAGE_BYTES = 16_384  # fifteen vectors of 512 numbers fit; into SQLite's usual 4,096 only three, a quarter of it empty
WAL_LIMIT_BYTES = 64 << 20  # what the log is cut back to after a large transaction
FOLDED_PAGES = 256  # of the log, after which a commit folds it into the file: 4 MB
RECOVERY_HINT = "Restore the last backup, or save the readable rows: anmok store recover"


class Database:
    """One connection to the file. Threads may share it; a process that was forked may not."""

    def __init__(self, folder: Path, *, readonly: bool, busy_timeout_s: float) -> None:
        self.path = folder / DATABASE
        self.readonly = readonly
        self.lock = threading.RLock()
        self.rollbacks = 0  # what was read inside a transaction that was then undone is no longer true
        self._depth = 0
        self._counted: tuple[tuple[int, ...], int] = ((), 0)
        self._process = os.getpid()
        with translated_errors(self.path):
            self._connection = _connect(self.path, readonly, busy_timeout_s)
        self._finalizer = weakref.finalize(self, _close, self._connection, self._process)
        try:
            self._check_format()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file. The last connection to leave folds the log into it."""
        with self.lock:
            self._finalizer()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    @property
    def in_transaction(self) -> bool:
        """Whether uncommitted changes of this connection may be there."""
        return self._depth > 0

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Run one statement with bound values and return its rows."""
        with self.lock, translated_errors(self.path):
            return self._usable().execute(sql, values).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row of values."""
        with self.lock, translated_errors(self.path):
            self._usable().executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside is committed together, or not at all. May be nested: the outermost commits.

        Raises:
            StoreBusy: another process is writing, and went on for longer than the timeout.
        """
        with self.lock:
            if self.readonly:
                raise StoreError(
                    f"{self.path.parent} was opened to read only; open it with readonly=False to change it"
                )
            nested = self._depth > 0
            start, commit = ("SAVEPOINT nested", "RELEASE nested") if nested else ("BEGIN IMMEDIATE", "COMMIT")
            self.execute(start)
            before = self.changes
            self._depth += 1
            try:
                yield
                if not nested and self.changes != before:
                    self.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
                self.execute(commit)
            except BaseException:
                self._undo(nested)
                raise
            finally:
                self._depth -= 1

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Every statement inside sees one state of the store, whatever others commit meanwhile."""
        with self.lock:
            if self._usable().in_transaction:
                yield
                return
            self.execute("BEGIN")
            try:
                yield
            finally:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")

    @property
    def changes(self) -> int:
        """How many rows this connection has changed so far, uncommitted ones included."""
        return self._usable().total_changes

    @property
    def version(self) -> int:
        """Number of the schema that the file has."""
        return int(self.execute("PRAGMA user_version")[0][0])

    def meta(self) -> dict[str, Any]:
        """The few values that belong to the whole store: id, dimension, contract, generation."""
        return dict(self.execute("SELECT name, value FROM meta"))

    @property
    def generation(self) -> int:
        """Number of commits so far that changed something."""
        return int(self.execute("SELECT value FROM meta WHERE name = 'generation'")[0][0])

    @property
    def state(self) -> tuple[int, int, int]:
        """Changes whenever a row may have."""
        return self.generation, self.changes, self.rollbacks

    def rows(self) -> int:
        """How many rows there are; counted again only where one may have changed."""
        with self.lock:
            state = self.state
            if self._counted[0] != state:
                self._counted = (state, int(self.execute("SELECT count(*) FROM items")[0][0]))
            return self._counted[1]

    @property
    def last_id(self) -> int:
        """The highest id ever given to a row (0 where there was none)."""
        rows = self.execute("SELECT seq FROM sqlite_sequence WHERE name = 'items'")
        return int(rows[0][0]) if rows else 0

    def backup(self, target: Path) -> None:
        """Copy the committed state to a new file, while others read and write."""
        with self.lock, translated_errors(target), contextlib.closing(sqlite3.connect(target)) as copy:
            if self.in_transaction:
                raise StoreError(f"{self.path.parent} cannot be copied inside a transaction: commit first")
            self._usable().backup(copy)

    def _usable(self) -> sqlite3.Connection:
        if self.closed:
            raise StoreError(f"{self.path.parent} is closed; open it again")
        if os.getpid() != self._process:
            raise StoreError(f"{self.path.parent} was opened in another process; every process opens it for itself")
        return self._connection

    def _undo(self, nested: bool) -> None:
        self.rollbacks += 1
        with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself (disk full, damage)
            if nested:
                self._connection.execute("ROLLBACK TO nested")
                self._connection.execute("RELEASE nested")
            elif self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _check_format(self) -> None:
        """Is this a store, and of a version that this code knows?"""
        application = int(self.execute("PRAGMA application_id")[0][0])
        version = self.version
        if application != APPLICATION_ID or version < 1:
            raise StoreDamaged(
                f"{self.path} is not the database of a store (application id {application:#x},"
                f" expected {APPLICATION_ID:#x}). {RECOVERY_HINT} {self.path.parent}"
            )
        if version > len(MIGRATIONS):
            raise StoreTooNew(
                f"{self.path.parent} has format {version}, this anmok knows up to {len(MIGRATIONS)}:"
                " update anmok (pip install --upgrade anmok) to open it"
            )
        if not self.readonly:
            self.execute("PRAGMA journal_mode = WAL")  # as it was made; only now, because it writes to an empty file
        if version < len(MIGRATIONS):
            self._migrate()

    def _migrate(self) -> None:
        if self.readonly:
            raise StoreError(
                f"{self.path.parent} has the older format {self.version} and was opened to read only;"
                " open it once with readonly=False to bring it up to date"
            )
        with self.transaction():
            _apply_migrations(self.execute, self.version)  # read again: another process may have done it


def _close(connection: sqlite3.Connection, process: int) -> None:
    if os.getpid() == process:  # a forked child must leave its parent's files alone
        connection.close()


def _apply_migrations(execute: Callable[[str], object], version: int) -> None:
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            execute(statement)
    execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _connect(path: Path, readonly: bool, busy_timeout_s: float) -> sqlite3.Connection:
    """Open the file as it is; never create it."""
    mode = "ro" if readonly else "rw"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    log = path.with_name(path.name + "-wal")
    if readonly and not os.access(path.parent, os.W_OK) and not log.exists():
        uri += "&immutable=1"  # on a read-only disk SQLite cannot make the files that readers share
    connection = sqlite3.connect(
        uri, uri=True, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: through the disk's own cache; elsewhere without effect
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {FOLDED_PAGES}")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def create_database(path: Path, meta: Mapping[str, Any], *, page_bytes: int = PAGE_BYTES) -> bool:
    """Make a new, empty database whole in a file of its own, then give it its name.

    So a database that is there under its name is never a half-made one, and of two processes
    that create it at once one wins. Returns False where somebody else did.
    """
    draft = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    with translated_errors(path):
        try:
            with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as connection:
                connection.execute(f"PRAGMA page_size = {page_bytes}")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = OFF")  # it is synced once, below, before it gets its name
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                _apply_migrations(connection.execute, 0)
                connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", meta.items())
                connection.execute("COMMIT")
            sync_file(draft)
            return _publish(draft, path)
        finally:
            draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> bool:
    """Give the draft its name unless a file has it already."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        draft.rename(path)
    sync_folder(path.parent)
    return True


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """SQLite's errors → ours, with the way out."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBusy(
                f"{path}: another process is writing ({error}). Try again when it is done, or wait longer:"
                " limits=StoreLimits(busy_timeout_s=60)"
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreDamaged(f"{path} is damaged ({error}). {RECOVERY_HINT} {path.parent}") from error
        if code == sqlite3.SQLITE_FULL:
            raise StoreFull(
                f"{path}: the disk is full. Nothing of this change was kept; make room and repeat it"
            ) from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise StoreError(
                f"{path} cannot be opened here ({error}). Check the permissions of the file and its folder;"
                " readonly=True needs no right to write"
            ) from error
        raise StoreError(f"{path}: {error}") from error


def to_key(key: str) -> bytes:
    """A key as it stands in the database; the order of the bytes is the order of the code points."""
    return key.encode("utf-8", "surrogatepass")


def from_key(stored: bytes) -> str:
    """The inverse of `to_key`."""
    return bytes(stored).decode("utf-8", "surrogatepass")


def to_json(value: Json, owner: str) -> str:
    """JSON text of a value; lone surrogates, which UTF-8 cannot carry, are escaped.

    Raises:
        StoreError: the value cannot be written as JSON; names the `owner`.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(f"{owner} cannot be stored as JSON: {error}") from error
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def from_json(text: str) -> Json:
    """The inverse of `to_json`."""
    return json.loads(text)
