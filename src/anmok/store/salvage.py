"""Save what a damaged store still holds, and keep the damaged one aside.

Nothing is ever written to the damaged files. A copy of them is read table by table, in ranges
of ids: where SQLite meets a damaged page, the range is halved until the rows around it are
found. Where the first page is lost (the header, and where the tables begin), it is borrowed
from an empty store with pages of the same size: the same schema puts its tables on the same pages.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import struct
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.errors import StoreError
from anmok.files import sync_folder
from anmok.store.database import DATABASE, PAGE_BYTES, Database, create_database, from_key, to_json
from anmok.store.rows import STORED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RecoverReport", "recover"]

PAGE_SIZES = (PAGE_BYTES, 4096)  # of stores as they are made, and as they were made first
AT_ONCE = 1000
MOST_FAILURES = 200_000  # damaged spots met, after which a table is given up
TABLES = {
    "meta": ("name", "value"),
    "items": ("key", "metadata"),
    "vectors": ("vector",),
    "documents": ("name", "key", "value"),
}
Rows = dict[int, tuple[Any, ...]]  # id → the other columns; texts as bytes, nothing checked yet


@dataclass(frozen=True)
class RecoverReport:
    """What was saved of a damaged store.

    `rows`, `documents`: how many are in the new store at `path`. `incomplete`: rows of which only
    a half was readable; they are left out (a row of which nothing was readable leaves no trace to
    count). `damaged`: where the old files are kept. `contract_lost`: the contract was not readable
    and none was given, so that the new store has an empty one.
    """

    path: Path
    damaged: Path
    rows: int
    incomplete: int
    documents: int
    contract_lost: bool


def recover(path: str | Path, *, contract: Mapping[str, Any] | None = None) -> RecoverReport:
    """Put a new store with all readable rows in the place of a damaged one, which is kept beside it.

    No other process may have the store open.

    Args:
        path: folder of the damaged store.
        contract: what its vectors mean, in case that is not readable any more.

    Raises:
        StoreError: there is no database, or nothing at all can be read from it.
    """
    folder = Path(path)
    if not (folder / DATABASE).is_file():
        raise StoreError(f"there is no {DATABASE} in {folder}: nothing can be recovered, restore the last backup")
    work = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        (work / "copy").mkdir(parents=True)
        (work / "new").mkdir()
        tables = _read(folder, work / "copy")
        meta = {_text(name): value for name, value in tables["meta"].values()}
        known = _contract(meta)
        dimension = _dimension(meta, tables["vectors"], folder)
        items, incomplete = _whole_items(tables, dimension)
        documents = _documents(tables["documents"])
        stamp = {"dimension": dimension, "contract": to_json(dict(known or contract or {}), "the contract")}
        _write(work / "new", stamp, items, documents)
        damaged = _swap(folder, work / "new")
    except OSError as error:
        raise StoreError(f"{folder} cannot be recovered: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    lost = known is None and contract is None
    return RecoverReport(folder, damaged, len(items), incomplete, len(documents), lost)


# Reading


def _read(folder: Path, copy: Path) -> dict[str, Rows]:
    """Every readable row of every table, from a copy that may be mended."""
    for name in (DATABASE, f"{DATABASE}-wal"):
        if (folder / name).exists():
            shutil.copyfile(folder / name, copy / name)
    tables = _read_tables(copy / DATABASE)
    if tables["items"] or tables["vectors"]:
        return tables
    tried = []  # the schema may be gone: borrow one
    for page_bytes in PAGE_SIZES:
        shutil.copyfile(folder / DATABASE, copy / DATABASE)
        _mend_first_page(copy / DATABASE, page_bytes)
        tried.append(_read_tables(copy / DATABASE))
    return max(tried, key=lambda tables: len(tables["items"].keys() & tables["vectors"].keys()))


def _read_tables(path: Path) -> dict[str, Rows]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            return {table: {} for table in TABLES}
        highest = _highest_id(connection, path.stat().st_size)
        return {table: dict(_salvage(connection, table, columns, highest)) for table, columns in TABLES.items()}


def _highest_id(connection: sqlite3.Connection, size: int) -> int:
    """An id that no row is above, from whatever still knows one."""
    known = [0]
    for sql in (
        "SELECT max(seq) FROM sqlite_sequence",
        "SELECT max(id) FROM items NOT INDEXED",
        "SELECT max(id) FROM vectors",
        "SELECT max(id) FROM documents NOT INDEXED",
        "SELECT max(id) FROM (SELECT key, id FROM items ORDER BY key)",  # the index on keys knows the ids too
    ):
        with contextlib.suppress(sqlite3.Error, ValueError):  # pages read as what they are not give any bytes
            known.append(int(connection.execute(sql).fetchone()[0] or 0))
    return max(known) or size // 16


def _salvage(
    connection: sqlite3.Connection, table: str, columns: tuple[str, ...], highest: int
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Rows of one table with ids 0..highest, around what is damaged."""
    sql = (
        f"SELECT id, {', '.join(columns)} FROM {table} NOT INDEXED"  # noqa: S608 (names from TABLES)
        " WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"
    )
    ranges, failures = [(0, highest)], 0
    while ranges and failures < MOST_FAILURES:
        low, high = ranges.pop()
        try:
            rows = connection.execute(sql, (low, high, AT_ONCE)).fetchall()
            if any(not low <= row[0] <= high for row in rows):
                raise sqlite3.DatabaseError("rows out of order")
        except sqlite3.Error:
            failures += 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]
            continue
        yield from ((row[0], row[1:]) for row in rows)
        if len(rows) == AT_ONCE:
            ranges.append((rows[-1][0] + 1, high))


def _mend_first_page(path: Path, page_bytes: int) -> None:
    """Overwrite page 1 with that of an empty store, with the number of pages that this file has."""
    empty = path.with_name(f"empty-{page_bytes}.sqlite")
    create_database(empty, {}, page_bytes=page_bytes)
    page = bytearray(empty.read_bytes()[:page_bytes])
    with path.open("r+b") as file:
        pages = file.seek(0, 2) // page_bytes
        page[28:32] = struct.pack(">I", pages)
        page[32:40] = bytes(8)  # no list of free pages
        page[92:96] = page[24:28]  # the number of pages is valid as of the change counter
        file.seek(0)
        file.write(page)


# Judging


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _contract(meta: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return dict(json.loads(meta["contract"]))
    except (KeyError, TypeError, ValueError):
        return None


def _dimension(meta: Mapping[str, Any], vectors: Rows, folder: Path) -> int:
    """As the store says, or else as most vectors are."""
    if isinstance(meta.get("dimension"), int) and meta["dimension"] > 0:
        return int(meta["dimension"])
    sizes = Counter(len(blob) for (blob,) in vectors.values() if isinstance(blob, bytes) and blob)
    if not sizes:
        raise StoreError(f"nothing can be read from {folder / DATABASE}: restore the last backup")
    return sizes.most_common(1)[0][0] // STORED.itemsize


def _whole_items(tables: Mapping[str, Rows], dimension: int) -> tuple[dict[bytes, tuple[Any, ...]], int]:
    """Rows {key: (id, metadata, vector)} of which both halves are sound, and how many are not."""
    whole: dict[bytes, tuple[Any, ...]] = {}
    items, vectors = tables["items"], tables["vectors"]
    incomplete = len(items.keys() ^ vectors.keys())
    for number in sorted(items.keys() & vectors.keys()):
        (key, metadata), (vector,) = items[number], vectors[number]
        if _sound_key(key) and _sound_json(metadata) and _sound_vector(vector, dimension):
            whole[key] = (number, metadata.decode("utf-8"), vector)
        else:
            incomplete += 1
    return whole, incomplete


def _documents(rows: Rows) -> list[tuple[str, bytes, str]]:
    sound: dict[tuple[str, bytes], str] = {}
    for name, key, value in rows.values():
        if isinstance(name, bytes) and _sound_key(key) and _sound_json(value):
            sound[_text(name), key] = value.decode("utf-8")
    return [(name, key, value) for (name, key), value in sound.items()]


def _sound_key(key: object) -> bool:
    try:
        return isinstance(key, bytes) and from_key(key) is not None
    except UnicodeDecodeError:
        return False


def _sound_json(text: object) -> bool:
    try:
        return isinstance(text, bytes) and json.loads(text.decode("utf-8")) is not NotImplemented
    except (ValueError, RecursionError):
        return False


def _sound_vector(blob: object, dimension: int) -> bool:
    if not isinstance(blob, bytes) or len(blob) != dimension * STORED.itemsize:
        return False
    row = np.frombuffer(blob, STORED).astype(np.float64)
    return bool(abs(np.sqrt(np.square(row).sum()) - 1) < 0.01)  # of unit length, as every stored vector is


# Writing


def _write(
    folder: Path,
    stamp: Mapping[str, Any],
    items: Mapping[bytes, tuple[Any, ...]],
    documents: list[tuple[str, bytes, str]],
) -> None:
    """A new store with these rows, under the ids they had."""
    create_database(folder / DATABASE, {"id": uuid.uuid4().hex, **stamp})
    database = Database(folder, readonly=False, busy_timeout_s=10)
    try:
        with database.transaction():
            rows = sorted((number, key, metadata, vector) for key, (number, metadata, vector) in items.items())
            database.execute_many("INSERT INTO items (id, key, metadata) VALUES (?, ?, ?)", (row[:3] for row in rows))
            database.execute_many("INSERT INTO vectors (id, vector) VALUES (?, ?)", ((row[0], row[3]) for row in rows))
            database.execute_many("INSERT INTO documents (name, key, value) VALUES (?, ?, ?)", documents)
    finally:
        database.close()


def _swap(folder: Path, new: Path) -> Path:
    """Keep the damaged folder under another name and give its name to the new one."""
    aside = folder.with_name(f"{folder.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    if aside.exists():
        aside = aside.with_name(f"{aside.name}-{uuid.uuid4().hex[:6]}")
    folder.rename(aside)
    try:
        new.rename(folder)
    except OSError:
        aside.rename(folder)
        raise
    sync_folder(folder.parent)
    return aside
