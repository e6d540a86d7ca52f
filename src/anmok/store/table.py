"""The rows of a store as SQL: written, deleted, found by key, by id or by filter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from anmok.store.database import from_key, to_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from anmok.store.database import Database
    from anmok.store.filters import Condition
    from anmok.store.rows import Ids

    Row = tuple[int, bytes, bytes, str]  # id, key, vector, metadata

__all__ = ["count", "delete", "ids", "keys", "keys_and_metadata", "page", "scan", "stored", "write"]

KEYS_AT_ONCE = 500  # bound in one statement
COLUMNS = "items.id, items.key, vectors.vector, items.metadata FROM items JOIN vectors ON vectors.id = items.id"


def write(database: Database, wanted: dict[str, tuple[bytes, str]]) -> None:
    """Write rows {key: (vector, metadata)}. A new vector gets a new id; a row that keeps its vector keeps its id."""
    fresh, replaced, changed = dict(wanted), [], []
    for number, stored_key, vector, metadata in stored(database, wanted):
        key = from_key(stored_key)
        if vector != wanted[key][0]:
            replaced.append(number)
            continue
        del fresh[key]
        if metadata != wanted[key][1]:
            changed.append((wanted[key][1], number))
    delete(database, replaced)
    database.execute_many("UPDATE items SET metadata = ? WHERE id = ?", changed)
    numbered = list(enumerate(fresh.items(), start=database.last_id + 1))
    database.execute_many(
        "INSERT INTO items (id, key, metadata) VALUES (?, ?, ?)",
        ((number, to_key(key), metadata) for number, (key, (_, metadata)) in numbered),
    )
    database.execute_many(
        "INSERT INTO vectors (id, vector) VALUES (?, ?)", ((number, vector) for number, (_, (vector, _)) in numbered)
    )


def delete(database: Database, numbers: Collection[int]) -> int:
    """Delete rows by id; returns how many were asked for."""
    bound = [(number,) for number in numbers]
    database.execute_many("DELETE FROM items WHERE id = ?", bound)
    database.execute_many("DELETE FROM vectors WHERE id = ?", bound)
    return len(bound)


def stored(database: Database, names: Iterable[str]) -> list[Row]:
    """The rows with these keys, as far as they are there, in no order."""
    wanted = list({to_key(name) for name in names})
    rows: list[Row] = []
    for start in range(0, len(wanted), KEYS_AT_ONCE):
        some = wanted[start : start + KEYS_AT_ONCE]
        marks = ", ".join("?" * len(some))
        rows += database.execute(f"SELECT {COLUMNS} WHERE items.key IN ({marks})", some)
    return rows


def keys(database: Database, allowed: Condition) -> list[str]:
    """Keys of the rows that a filter allows, in the order of their ids."""
    sql, values = allowed
    return [from_key(row[0]) for row in database.execute(f"SELECT key FROM items WHERE {sql} ORDER BY id", values)]  # noqa: S608


def count(database: Database, allowed: Condition) -> int:
    """How many rows a filter allows."""
    sql, values = allowed
    return int(database.execute(f"SELECT count(*) FROM items WHERE {sql}", values)[0][0])  # noqa: S608


def ids(database: Database, allowed: Condition) -> Ids:
    """Ids of the rows that a filter allows, ascending."""
    sql, values = allowed
    rows = database.execute(f"SELECT id FROM items WHERE {sql} ORDER BY id", values)  # noqa: S608
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def scan(database: Database, allowed: Condition, batch: int) -> Iterator[list[Row]]:
    """The rows that a filter allows, page by page, as far as they were there when the scan began."""
    sql, values = allowed
    last, end = 0, database.last_id
    page = f"SELECT {COLUMNS} WHERE items.id > ? AND items.id <= ? AND {sql} ORDER BY items.id LIMIT ?"
    while rows := database.execute(page, (last, end, *values, batch)):
        yield rows
        last = rows[-1][0]


def keys_and_metadata(database: Database, numbers: Ids) -> dict[int, tuple[str, str]]:
    """Key and metadata (JSON text) of rows by id."""
    rows = database.execute(
        "SELECT items.id, items.key, items.metadata FROM json_each(?) wanted JOIN items ON items.id = wanted.value",
        (json.dumps(numbers.tolist()),),
    )
    return {number: (from_key(key), metadata) for number, key, metadata in rows}


def page(database: Database, prefix: str, field: str, skip: int, top: int) -> tuple[int, list[tuple[str, str]]]:
    """How many keys begin with a prefix; and some of them with their metadata (JSON text), by a field of it."""
    start = to_key(prefix)
    begins, values = ("key >= ? AND key < ?", (start, start + b"\xff")) if start else ("1", ())  # no key has that byte
    total = int(database.execute(f"SELECT count(*) FROM items WHERE {begins}", values)[0][0])  # noqa: S608
    rows = database.execute(
        f"SELECT key, metadata FROM items WHERE {begins} ORDER BY json_extract(metadata, ?), id LIMIT ? OFFSET ?",  # noqa: S608
        (*values, f'$."{field}"', top, skip),
    )
    return total, [(from_key(key), metadata) for key, metadata in rows]
