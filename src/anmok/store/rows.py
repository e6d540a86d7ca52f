"""Vectors between NumPy and the database: checked and packed on the way in, read in blocks on the way out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from anmok.errors import StoreDamaged, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from anmok.store.database import Database

    Ids = NDArray[np.int64]  # [n], ascending
    Vectors = NDArray[np.float32]  # [n, d]
    Block = tuple[Ids, Vectors]

__all__ = [
    "LARGEST_ID",
    "RowCache",
    "count_rows",
    "ids_above",
    "pack",
    "read_blocks",
    "read_rows",
    "unit_rows",
    "unpack",
]

STORED = np.dtype("<f2")
LARGEST_ID = 2**63 - 1  # that a row can have


def unit_rows(vectors: ArrayLike, dimension: int, names: Sequence[str]) -> Vectors:
    """Rows scaled to unit length.

    Args:
        vectors: [n, d] numbers.
        dimension: d of the store.
        names: what each row is called in an error, [n].

    Returns:
        float32 [n, d].

    Raises:
        StoreError: the shape does not fit, or a row is zero or holds NaN or infinity.
    """
    try:
        rows = np.asarray(vectors, np.float64)
    except (TypeError, ValueError) as error:
        raise StoreError(f"vectors must be an array of numbers [n, {dimension}]: {error}") from error
    if rows.size == 0 and not names:
        return np.empty((0, dimension), np.float32)
    if rows.shape != (len(names), dimension):
        raise StoreError(f"vectors have shape {list(rows.shape)}, expected [{len(names)}, {dimension}]")
    largest = np.abs(rows).max(axis=1, initial=0.0)
    for bad in np.flatnonzero(~np.isfinite(largest) | (largest == 0)).tolist():
        kind = "zero" if largest[bad] == 0 else "not finite (NaN or infinity)"
        raise StoreError(f"the vector of {names[bad]} is {kind}: it has no direction to compare")
    rows = rows / largest[:, None]  # first to a size whose square neither overflows nor vanishes
    units: Vectors = (rows / np.sqrt(np.square(rows).sum(axis=1))[:, None]).astype(np.float32)
    return units


def pack(vectors: Vectors) -> list[bytes]:
    """Unit rows → what the database holds: half precision, little endian."""
    return [row.tobytes() for row in vectors.astype(STORED)]


def unpack(blobs: Sequence[bytes], dimension: int, database: Database, *, as_stored: bool = False) -> Vectors:
    """The inverse of `pack`, float32 [n, d]: of unit length again, which rounding to half precision had lost.

    Raises:
        StoreDamaged: a vector has not the store's dimension.
    """
    size = dimension * STORED.itemsize
    if any(not isinstance(blob, bytes) or len(blob) != size for blob in blobs):
        raise StoreDamaged(
            f"{database.path} holds a vector that is not of {dimension} dimensions: "
            f"see anmok store check {database.path.parent}"
        )
    rows: Vectors = np.frombuffer(b"".join(blobs), STORED).reshape(len(blobs), dimension).astype(np.float32)
    if not as_stored:
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        rows /= np.maximum(lengths, np.float32(0.5))[:, None]  # a damaged row of zeros stays one
    return rows


def count_rows(database: Database, above: int = 0) -> int:
    """How many rows have an id above `above`."""
    if above <= 0:
        return database.rows()
    return int(database.execute("SELECT count(*) FROM items WHERE id > ?", (above,))[0][0])


def ids_above(database: Database, above: int) -> Ids:
    """Ids of the rows above `above`."""
    rows = database.execute("SELECT id FROM items WHERE id > ? ORDER BY id", (above,))
    return np.fromiter((row[0] for row in rows), np.int64, len(rows))


def read_blocks(
    database: Database,
    dimension: int,
    *,
    above: int,
    block_rows: int,
    up_to: int = LARGEST_ID,
    as_stored: bool = False,
) -> Iterator[Block]:
    """Rows with an id above `above`, from disk, at most `block_rows` at once; unit length, or just as stored."""
    sql = "SELECT id, vector FROM vectors WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
    while True:
        rows = database.execute(sql, (above, up_to, block_rows))
        if not rows:
            return
        ids = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        yield ids, unpack([row[1] for row in rows], dimension, database, as_stored=as_stored)
        above = int(ids[-1])


def read_rows(database: Database, dimension: int, ids: Ids) -> Block:
    """The rows with these ids, as far as they are there."""
    rows = database.execute(
        "SELECT v.id, v.vector FROM json_each(?) wanted JOIN vectors v ON v.id = wanted.value ORDER BY v.id",
        (json.dumps(ids.tolist()),),
    )
    found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    return found, unpack([row[1] for row in rows], dimension, database)


class RowCache:
    """The rows above some id in memory, float32, brought up to date when the store has changed.

    The arrays are replaced, never written to: whoever holds them keeps a consistent state.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.ids: Ids = np.empty(0, np.int64)
        self.vectors: Vectors = np.empty((0, self.dimension), np.float32)
        self._state: tuple[int, ...] = ()

    def refresh(self, database: Database, above: int, block_rows: int) -> Block:
        """Rows with an id above `above`, as the store is now. Only what is new is read."""
        state = (above, *database.state)
        if state == self._state:
            return self.ids, self.vectors
        if self._state and self._state[-1] != state[-1]:
            self.clear()  # ids that were seen in an undone transaction may be given again to others
        now = ids_above(database, above)
        kept = np.isin(self.ids, now, assume_unique=True)
        if kept.sum() < len(now) // 2:
            kept[:] = False
            blocks = read_blocks(database, self.dimension, above=above, block_rows=block_rows)
        else:
            fresh = np.setdiff1d(now, self.ids, assume_unique=True)
            cuts = range(0, len(fresh), block_rows)
            blocks = (read_rows(database, self.dimension, fresh[cut : cut + block_rows]) for cut in cuts)
        vectors = np.empty((len(now), self.dimension), np.float32)
        vectors[np.searchsorted(now, self.ids[kept])] = self.vectors[kept]
        filled = int(kept.sum())
        for ids, rows in blocks:
            vectors[_places(now, ids, database)] = rows
            filled += len(ids)
        if filled != len(now):
            raise _halves(database)
        self.ids, self.vectors, self._state = now, vectors, state
        return now, vectors


def _places(ids: Ids, wanted: Ids, database: Database) -> NDArray[np.intp]:
    places = np.searchsorted(ids, wanted)
    if len(wanted) and (places[-1] >= len(ids) or (ids[places] != wanted).any()):
        raise _halves(database)
    return places


def _halves(database: Database) -> StoreDamaged:
    return StoreDamaged(
        f"{database.path} has rows without a vector, or vectors without a row: "
        f"see anmok store check {database.path.parent}"
    )
