"""Care for a store: check it, compact it, copy it while it is used."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok.errors import StoreDamaged, StoreError
from anmok.files import sync_file, sync_folder
from anmok.store import index as files
from anmok.store.database import (
    DATABASE,
    Database,
    from_key,
    translated_errors,
)
from anmok.store.rows import count_rows, read_blocks, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.store.keeper import IndexKeeper

__all__ = ["CheckReport", "backup", "check", "compact"]

MOST_PROBLEMS = 100
LENGTH_TOLERANCE = 0.01  # half precision keeps the length of a unit vector within a thousandth
INDEX_SAMPLE = 1000


@dataclass(frozen=True)
class CheckReport:
    """What a check found. `problems` is empty for a sound store; `index`: "none", "current" or "behind"."""

    path: Path
    rows: int
    dimension: int
    generation: int
    index: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(database: Database, keeper: IndexKeeper) -> CheckReport:
    """Look at everything; see `Store.check`."""
    problems: list[str] = []
    index = "none"
    rows = generation = 0
    try:
        keeper.map()
        with database.reading():
            rows, generation = count_rows(database), database.generation
            problems += _structure(database, keeper.dimension)
            problems += _vectors(database, keeper)
            index = _index(database, keeper, problems)
    except StoreDamaged as error:
        problems.append(str(error))
    return CheckReport(database.path.parent, rows, keeper.dimension, generation, index, tuple(problems[:MOST_PROBLEMS]))


def _structure(database: Database, dimension: int) -> list[str]:
    problems = [row[0] for row in database.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})") if row[0] != "ok"]
    counted = {
        "rows without a vector": "SELECT count(*) FROM items WHERE id NOT IN (SELECT id FROM vectors)",
        "vectors without a row": "SELECT count(*) FROM vectors WHERE id NOT IN (SELECT id FROM items)",
        "rows whose metadata is not JSON": "SELECT count(*) FROM items WHERE NOT json_valid(metadata)",
        "documents that are not JSON": "SELECT count(*) FROM documents WHERE NOT json_valid(value)",
    }
    for what, sql in counted.items():
        if number := database.execute(sql)[0][0]:
            problems.append(f"{number} {what}")
    wrong = "SELECT count(*) FROM vectors WHERE typeof(vector) <> 'blob' OR length(vector) <> ?"
    if number := database.execute(wrong, (2 * dimension,))[0][0]:
        problems.append(f"{number} vectors are not of {dimension} dimensions")
    return problems


def _vectors(database: Database, keeper: IndexKeeper) -> list[str]:
    """Every vector is finite and of unit length: a flipped bit in a high place shows."""
    bad = []
    step = keeper.limits.block_rows
    for ids, rows in read_blocks(database, keeper.dimension, above=0, block_rows=step, as_stored=True):
        with np.errstate(all="ignore"):
            lengths = np.sqrt(np.square(rows.astype(np.float64)).sum(axis=1))
        bad += ids[~(np.abs(lengths - 1) < LENGTH_TOLERANCE)].tolist()
    if not bad:
        return []
    named = database.execute("SELECT key FROM items WHERE id IN (?, ?, ?)", (bad * 3)[:3])
    names = ", ".join(repr(from_key(row[0])) for row in named)
    return [f"{len(bad)} vectors are not of unit length (for example {names})"]


def _index(database: Database, keeper: IndexKeeper, problems: list[str]) -> str:
    if files.signature(keeper.folder) is None:
        return "none"
    index = keeper.current()
    if index is None:
        problems.append("the index cannot be used; it is built again by the next search, or anmok store compact")
        return "none"
    try:
        index.require_intact()
    except files.IndexUnusable as error:
        problems.append(f"the index: {error}; anmok store compact builds it again")
    last = index.stamp.last_id
    sample = np.array(
        [row[0] for row in database.execute("SELECT id FROM items WHERE id <= ? ORDER BY id", (last,))], np.int64
    )
    sample = sample[:: max(1, len(sample) // INDEX_SAMPLE)]
    ids, rows = read_rows(database, keeper.dimension, sample)
    differing = int((~index.holds(ids, rows)).sum()) if len(ids) else 0
    if differing:
        problems.append(f"the index differs from the database in {differing} of {len(ids)} rows: anmok store compact")
    return "current" if count_rows(database, last) == 0 else "behind"


def compact(database: Database, keeper: IndexKeeper) -> int:
    """Give the room of deleted rows back and build the index anew; see `Store.compact`."""
    if database.readonly or database.in_transaction:
        raise StoreError(f"{database.path.parent} cannot be compacted while reading only or inside a transaction")
    before = _bytes(database.path.parent)
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if files.signature(keeper.folder) is not None or database.rows() > keeper.limits.exact_rows:
        try:
            keeper.rebuild()
        except OSError as error:
            raise StoreError(f"{database.path} is compacted, but its index cannot be written: {error}") from error
    return before - _bytes(database.path.parent)


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def backup(database: Database, target: Path) -> None:
    """Copy the committed state to a new store; see `Store.backup`."""
    if target.exists():
        raise StoreError(f"{target} is there already; a backup never replaces anything: choose another path")
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        draft.mkdir(parents=True)
        database.backup(draft / DATABASE)
        with translated_errors(draft), contextlib.closing(sqlite3.connect(draft / DATABASE)) as copy:
            if (state := copy.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise StoreDamaged(f"{database.path} is damaged ({state}); no backup was made")
            # a store of its own, so that an index of the original is never taken for one of the copy
            copy.execute("PRAGMA synchronous = OFF")  # it is synced below, before it gets its name
            copy.execute("UPDATE meta SET value = ? WHERE name = 'id'", (uuid.uuid4().hex,))
            copy.commit()
        sync_file(draft / DATABASE)
        sync_folder(draft)
        draft.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise StoreError(f"the backup {target} cannot be written: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
