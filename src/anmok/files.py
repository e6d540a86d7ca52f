"""Files that others may be reading are replaced whole, and files that several write have a lock."""

from __future__ import annotations

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

__all__ = ["locked", "write_whole"]

PAUSE = 0.002  # seconds between two tries


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; makes its folder.

    Raises:
        OSError: it cannot be written. What was there stays.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


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
