"""Rows of one size in a file that never grows beyond a number of them: the newest stay, the oldest are overwritten.

    64 bytes          what the file is: magic, bytes of a row, how many rows fit
    32 bytes a row    key, number, checksum of the row, checksum of these
    the rows          row number n in place n % capacity

A row is written before its 32 bytes. So whatever happens in between, a row is whole or not there: what does not match
its checksums is as if it were not there. Rows are read from the file, not mapped: a mapped file that somebody cuts
would end the process. One writes at a time (the caller holds a lock); others may read meanwhile.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from threading import RLock
from typing import IO, TYPE_CHECKING

import numpy as np

from anmok.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["KEY_BYTES", "RowFile", "capacity_of"]

MAGIC = b"anmok rows 1\0\0\0\0"
KEY_BYTES = 16
START = struct.Struct("<16sQQ32x")
HEADER = struct.Struct("<16sQI")  # key, number, checksum of the row; then that of these
HEADER_BYTES = 32


def capacity_of(size: int, row_bytes: int) -> int:
    """How many rows fit into a file of `size` bytes."""
    return max(0, (size - START.size) // (HEADER_BYTES + row_bytes))


class RowFile:
    """One such file, which may not be there yet. Threads may share it.

    A file that is damaged, or of rows of another size or number, holds nothing and is made anew by `put`.
    """

    def __init__(self, path: Path, row_bytes: int, capacity: int) -> None:
        self.path, self.row_bytes, self.capacity = path, row_bytes, capacity
        self._file: IO[bytes] | None = None
        self._identity: tuple[int, int] | None = None  # of the open file
        self._place_of: dict[bytes, int] = {}
        self._key_at: dict[int, bytes] = {}
        self._next = 1  # number of the row that is written next
        self._lock = RLock()

    def size_with(self, count: int, size: int) -> int:
        """The most bytes that the file has, now of `size`, after so many more rows."""
        least = START.size + self.capacity * HEADER_BYTES
        return min(least + self.capacity * self.row_bytes, max(size, least) + count * self.row_bytes)

    def refresh(self) -> None:
        """See what other processes wrote since."""
        with self._lock:
            try:
                state = self.path.stat()
                if self._identity != (state.st_dev, state.st_ino):
                    self._open()
                else:
                    self._read_newer()
            except OSError:
                self.close()

    def get(self, key: bytes) -> bytes | None:
        """The row of a key, or None."""
        with self._lock:
            place = self._place_of.get(key)
            if place is None:
                return None
            try:
                header, row = self._header(place), self._read(self._row_start(place), self.row_bytes)
            except OSError:
                return None
            if header is not None and header[0] == key and header[2] == _checksum(row):
                return row
            self._forget(place)
            return None

    def put(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Write rows (key, content) that are not there yet, in order. Nobody else may write meanwhile.

        Raises:
            OSError: they cannot be written.
        """
        with self._lock:
            self.refresh()
            if self._file is None:
                self._create()
            with self.path.open("r+b", buffering=0) as file:
                for key, row in rows:
                    if key not in self._place_of:
                        place = self._next % self.capacity
                        header = HEADER.pack(key, self._next, _checksum(row))
                        _write(file, self._row_start(place), row)
                        _write(file, self._header_start(place), header + zlib.crc32(header).to_bytes(4, "little"))
                        self._note(place, key, self._next)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._file is not None:
                self._finalizer()
            self._file, self._identity, self._next = None, None, 1
            self._place_of.clear()
            self._key_at.clear()

    def _create(self) -> None:
        start = START.pack(MAGIC, self.row_bytes, self.capacity)
        write_whole(self.path, start + bytes(self.capacity * HEADER_BYTES))
        self._open()

    def _open(self) -> None:
        """Open the file under its name and read which rows it has; leave it where it is of another kind."""
        self.close()
        file = self.path.open("rb", buffering=0)
        start = file.read(START.size)
        if start != START.pack(MAGIC, self.row_bytes, self.capacity):
            file.close()
            return
        state = os.fstat(file.fileno())
        self._file, self._identity = file, (state.st_dev, state.st_ino)
        self._finalizer = weakref.finalize(self, file.close)
        self._read_all()

    def _read_all(self) -> None:
        headers = self._read(START.size, self.capacity * HEADER_BYTES)
        if len(headers) < self.capacity * HEADER_BYTES:  # cut
            self.close()
            return
        found = []
        numbers = np.frombuffer(headers, "<u8").reshape(self.capacity, -1)[:, 2]  # 0 where no row was written yet
        for place in np.flatnonzero(numbers).tolist():
            raw = headers[place * HEADER_BYTES : (place + 1) * HEADER_BYTES]
            if (header := self._parsed(raw, place)) is not None:
                found.append((header[1], place, header[0]))
        for number, place, key in sorted(found):
            self._note(place, key, number)

    def _read_newer(self) -> None:
        for _ in range(self.capacity):
            place = self._next % self.capacity
            header = self._header(place)
            if header is None or header[1] < self._next:
                return
            if header[1] > self._next:  # others went round it once
                break
            self._note(place, header[0], header[1])
        self._place_of.clear()
        self._key_at.clear()
        self._read_all()

    def _note(self, place: int, key: bytes, number: int) -> None:
        self._forget(place)
        self._place_of[key], self._key_at[place] = place, key
        self._next = number + 1

    def _forget(self, place: int) -> None:
        key = self._key_at.pop(place, None)
        if key is not None and self._place_of.get(key) == place:
            del self._place_of[key]

    def _header(self, place: int) -> tuple[bytes, int, int] | None:
        return self._parsed(self._read(self._header_start(place), HEADER_BYTES), place)

    def _parsed(self, raw: bytes, place: int) -> tuple[bytes, int, int] | None:
        """Key, number and checksum of a row, or None where there is none."""
        content, check = raw[: HEADER.size], raw[HEADER.size :]
        if len(raw) < HEADER_BYTES or int.from_bytes(check, "little") != zlib.crc32(content):
            return None
        key, number, checksum = HEADER.unpack(content)
        return (key, number, checksum) if number and number % self.capacity == place else None

    def _header_start(self, place: int) -> int:
        return START.size + place * HEADER_BYTES

    def _row_start(self, place: int) -> int:
        return START.size + self.capacity * HEADER_BYTES + place * self.row_bytes

    def _read(self, start: int, size: int) -> bytes:
        """Those bytes, or as many as there are."""
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(size)


def _checksum(row: bytes) -> int:
    return zlib.crc32(row)


def _write(file: IO[bytes], start: int, content: bytes) -> None:
    file.seek(start)
    if file.write(content) != len(content):
        raise OSError("the disk is full")
