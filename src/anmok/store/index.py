"""The derived index: an HNSW graph (usearch) in a file of its own, mapped into memory, never trusted blindly.

    index.usearch = what usearch wrote · stamp (JSON) · length and checksum of the stamp · MAGIC

The stamp says which store the graph stands for, up to which row, and the checksum of the
graph: a file that was cut, damaged or copied from another store is recognised before it is
used. It can be deleted at any time and is built again from the database.

Reading a large file whole takes longer than all else that opening it needs. So once the content
was found right, a note beside the file says of which state of it (`signature`) that is true; it
is read whole again only when it has changed since, or is checked (`anmok store check`).

Source: Malkov and Yashunin 2016, arXiv 1603.09320 (HNSW).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
import time
import uuid
import zlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anmok.files import sync_folder, write_whole
from anmok.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.store.rows import Ids, Vectors

__all__ = ["INDEX", "GrowingGraph", "IndexUnusable", "Stamp", "VectorIndex", "put_in_place", "signature"]

Graph: TypeAlias = Any  # usearch.index.Index, which comes without types

INDEX = "index.usearch"
CHECKED = f"{INDEX}.checked"  # the note
MAGIC = b"ANMOKIX2"
TAIL = struct.Struct("<II8s")  # bytes of the stamp, its checksum, MAGIC
CONNECTIVITY = 16  # links of a node
EXPANSION_ADD = 128
EXPANSION_SEARCH = 256  # among 100,000 rows, where it finds 0.995 of the true neighbours, and 128 found 0.985
ADDED_AT_ONCE = 256  # rows, a tenth of a second
STALE_DRAFT_S = 24 * 3600  # a draft this old was left by a process that died


class IndexUnusable(Exception):
    """The index file cannot stand for this store; says why. It never leaves the room: the index is built again."""


@dataclass(frozen=True)
class Stamp:
    """What a graph stands for: the rows 1..`last_id` of the store `store` as of `generation`.

    `rows`: nodes in the graph, rows deleted since included. `largest`: the number that becomes 127 in the graph, where
    vectors are kept in 8 bits. `checksum`: CRC-32 of the graph's bytes.
    """

    store: str
    generation: int
    dimension: int
    last_id: int
    rows: int
    largest: float = 1.0
    checksum: int = 0


class VectorIndex:
    """The mapped graph of a store, to read only.

    Args:
        folder: of the store.
        store: its id.
        dimension: of its vectors.
        note: whether to leave a note that the file was found right.

    Raises:
        IndexUnusable: there is no file, or it is damaged, or it belongs to another store.
    """

    def __init__(self, folder: Path, store: str, dimension: int, *, note: bool = True) -> None:
        path = self._path = folder / INDEX
        try:
            self.signature = signature(folder)
            self.stamp, self._graph_bytes = _read_stamp(path)
            if _checked(folder) != (self.signature, self.stamp):
                _require_intact(path, self.stamp, self._graph_bytes)
                if note:
                    _note_checked(folder, self.stamp, self.signature)
        except OSError as error:
            raise IndexUnusable(f"it cannot be read ({error})") from error
        if self.stamp.store != store:
            raise IndexUnusable("it belongs to another store")
        if self.stamp.dimension != dimension:
            raise IndexUnusable(f"its vectors have {self.stamp.dimension} dimensions, not {dimension}")
        self._graph = _graph(dimension)
        try:
            self._graph.view(str(path))
        except Exception as error:  # usearch raises what C++ threw
            raise IndexUnusable(f"usearch cannot map it ({error})") from error
        if len(self._graph) != self.stamp.rows:
            raise IndexUnusable(f"it holds {len(self._graph)} rows and should hold {self.stamp.rows}")

    def search(self, queries: Vectors, count: int) -> Ids:
        """Ids of about the `count` nearest nodes, int64 [q, count]; 0 (never an id) fills up short rows."""
        self._graph.expansion_search = max(_expansion(self.stamp.rows), count)
        found = self._graph.search(_in_8_bits(queries, self.stamp.largest), count, threads=settings().threads)
        keys = np.asarray(found.keys).reshape(len(queries), -1).astype(np.int64)
        counts = np.asarray(getattr(found, "counts", [keys.shape[1]])).reshape(-1, 1)
        keys[np.arange(keys.shape[1])[None, :] >= counts] = 0
        return keys

    def holds(self, ids: Ids, rows: Vectors) -> NDArray[np.bool_]:
        """Whether the graph has these vectors for these ids."""
        expected = _in_8_bits(rows, self.stamp.largest)
        held = (self._graph.get(int(number)) for number in ids)
        return np.array([h is not None and np.array_equal(h.ravel(), e) for h, e in zip(held, expected, strict=True)])

    def require_intact(self) -> None:
        """Read the whole file once more.

        Raises:
            IndexUnusable: it is not what was written.
        """
        try:
            _require_intact(self._path, self.stamp, self._graph_bytes)
        except OSError as error:
            raise IndexUnusable(f"it cannot be read ({error})") from error

    def close(self) -> None:
        """Unmap the file; Windows replaces no file that is mapped."""
        self._graph.reset()


def _expansion(rows: int) -> int:
    """How far a search looks: with the root of the rows. Among a million, twice as far as among 100,000 found 0.977."""
    return round(EXPANSION_SEARCH * max(1.0, math.sqrt(rows / 100_000)))


def signature(folder: Path) -> tuple[int, ...] | None:
    """Changes when the file is replaced; None where there is none."""
    try:
        state = (folder / INDEX).stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


class GrowingGraph:
    """A graph in memory, to which rows are added."""

    def __init__(self, dimension: int) -> None:
        self._graph = _graph(dimension)
        self._largest = 0.0
        self.rows = 0

    @classmethod
    def opened(cls, folder: Path, old: Stamp) -> GrowingGraph:
        """The graph of the file.

        Raises:
            IndexUnusable: the file is not the one that `old` stood in, or it is damaged.
        """
        path = folder / INDEX
        try:
            stamp, graph_bytes = _read_stamp(path)
            if stamp != old:
                raise IndexUnusable("it was replaced meanwhile")
            _require_intact(path, stamp, graph_bytes)
            growing = cls(old.dimension)
            growing._graph.load(str(path))
        except (OSError, RuntimeError) as error:  # usearch raises what C++ threw
            raise IndexUnusable(f"it cannot be read ({error})") from error
        growing._largest, growing.rows = old.largest, old.rows
        return growing

    def add(self, ids: Ids, rows: Vectors) -> None:
        """Add rows, a few at a time: usearch lets no other thread of Python run meanwhile."""
        if not self._largest:
            self._largest = max(float(np.abs(rows).max()), 1e-6)
        threads = settings().threads
        for start in range(0, len(ids), ADDED_AT_ONCE):
            some = slice(start, start + ADDED_AT_ONCE)
            self._graph.add(ids[some].astype(np.uint64), _in_8_bits(rows[some], self._largest), threads=threads)
        self.rows += len(ids)

    @contextmanager
    def drafted(self, folder: Path, stamp: Stamp) -> Iterator[tuple[Path, Stamp]]:
        """A file beside the index, whole and on the disk, ready for `put_in_place`; gone after the block.

        Raises:
            OSError: it cannot be written.
        """
        _remove_drafts(folder)
        draft = folder / f"{INDEX}.{uuid.uuid4().hex}.tmp"
        try:
            try:
                self._graph.save(str(draft))
            except RuntimeError as error:  # usearch says so where it cannot write
                raise OSError(f"{draft} cannot be written: {error}") from error
            checksum = _checksum(draft, draft.stat().st_size)
            stamp = replace(stamp, rows=self.rows, largest=self._largest or 1.0, checksum=checksum)
            text = json.dumps(asdict(stamp)).encode()
            with draft.open("ab") as file:
                file.write(text + TAIL.pack(len(text), zlib.crc32(text), MAGIC))
                file.flush()
                os.fsync(file.fileno())
            yield draft, stamp
        finally:
            draft.unlink(missing_ok=True)


def put_in_place(folder: Path, draft: Path, stamp: Stamp) -> None:
    """Give a draft the name of the index.

    Raises:
        OSError: the index cannot be replaced (on Windows: another process has mapped it).
    """
    draft.replace(folder / INDEX)
    _note_checked(folder, stamp, signature(folder))
    sync_folder(folder)


def _graph(dimension: int) -> Graph:
    from usearch.index import Index  # 0.15 s, and only large stores need it

    return Index(ndim=dimension, metric="ip", dtype="i8", connectivity=CONNECTIVITY, expansion_add=EXPANSION_ADD)


def _in_8_bits(rows: Vectors, largest: float) -> NDArray[np.int8]:
    """Enough to find candidates, which are then ranked by what the database holds; half the memory of 16 bits.

    The largest number that was seen becomes 127: the numbers of a unit vector are far from 1, and would else be left
    with three bits.
    """
    steps = np.nan_to_num(rows * np.float32(127 / largest))  # a damaged row is no reason to stop
    rounded: NDArray[np.int8] = np.clip(np.rint(steps), -127, 127).astype(np.int8)
    return rounded


def _read_stamp(path: Path) -> tuple[Stamp, int]:
    """The stamp, and the length of what usearch wrote before it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL.size))
        tail = file.read()
        if len(tail) != TAIL.size or not tail.endswith(MAGIC):
            raise IndexUnusable("it is cut or not an index of anmok")
        length, checksum, _ = TAIL.unpack(tail)
        start = size - TAIL.size - length
        if start < 0:
            raise IndexUnusable("its stamp is damaged")
        file.seek(start)
        text = file.read(length)
    if zlib.crc32(text) != checksum:
        raise IndexUnusable("its stamp is damaged")
    try:
        return Stamp(**json.loads(text)), start
    except (TypeError, ValueError) as error:
        raise IndexUnusable("its stamp is of another version") from error


def _require_intact(path: Path, stamp: Stamp, graph_bytes: int) -> None:
    """Read what usearch wrote, a third of a second for a million rows."""
    if _checksum(path, graph_bytes) != stamp.checksum:
        raise IndexUnusable("its content is damaged (wrong checksum)")


def _checksum(path: Path, size: int) -> int:
    """CRC-32 of the first `size` bytes."""
    checksum = 0
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, 1 << 20))):
            checksum = zlib.crc32(part, checksum)
            size -= len(part)
    return checksum


def _checked(folder: Path) -> tuple[tuple[int, ...], Stamp] | None:
    """The state of the file that was found right last, and its stamp; None where nothing is known."""
    try:
        note = json.loads((folder / CHECKED).read_bytes())
        return tuple(note["signature"]), Stamp(**note["stamp"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _note_checked(folder: Path, stamp: Stamp, state: tuple[int, ...] | None) -> None:
    note = json.dumps({"signature": state, "stamp": asdict(stamp)}).encode()
    with contextlib.suppress(OSError):  # where nobody may write, the index is read whole each time
        write_whole(folder / CHECKED, note)


def _remove_drafts(folder: Path) -> None:
    for draft in folder.glob("*.tmp"):
        try:
            if time.time() - draft.stat().st_mtime > STALE_DRAFT_S:
                draft.unlink()
        except OSError:  # another process was faster
            continue
