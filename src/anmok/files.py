"""Files that others may be reading are replaced whole, and files that several write have a lock."""

from __future__ import annotations

import errno
import os
import sys
import time
import uuid
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["disk_full", "locked", "sync_file", "sync_folder", "write_whole"]

PAUSE = 0.002  # seconds between two tries


def write_whole(path: Path, content: bytes, *, lasting: bool = False, mode: int | None = None) -> None:
    """Write a file, whole or not at all; makes its folder.

    Args:
        path: of the file.
        content: of the file.
        lasting: return only when it is on the disk, whatever happens to the machine.
        mode: its permissions, from the first byte on; what the process gives to new files unless given.

    Raises:
        OSError: it cannot be written. What was there stays.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if mode is not None:
            unfinished.touch(mode)
        unfinished.write_bytes(content)
        if lasting:
            sync_file(unfinished)
        unfinished.replace(path)
        if lasting:
            sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def disk_full(error: BaseException) -> bool:
    """Whether a write failed because there was no room, on the disk or in what the user may have of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def sync_file(path: Path) -> None:
    """Wait until the file's content is on the disk.

    Never for an SQLite database that this process has open: closing the descriptor would drop SQLite's locks.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's list of names is on the disk. Windows neither needs nor offers it."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, *, seconds: float) -> Iterator[bool]:
    """Hold the lock of a file, which is made with its folder; yields False where another holds it for so long.

    The lock ends with the block or with the process, however that ends.

    Raises:
        OSError: the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        until = time.monotonic() + seconds
        while not (held := _took(file)) and time.monotonic() < until:
            time.sleep(PAUSE)
        yield held  # closing the file lets go of it


def _took(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
