"""Files: parts of them by place, what their first bytes say, and names that must stay inside a folder."""

from __future__ import annotations

import os
from pathlib import Path

from anmok.pairs.pair import PairError
from anmok.pictures.read import system_reason

__all__ = ["MOST_BYTES", "archive_kind", "inside", "is_file", "read_at", "read_whole"]

MOST_BYTES = 1 << 30  # of one picture or text; whatever says that it is larger is damaged or means harm

ARCHIVES = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"PK\x03\x04", "zip", "unzip"),
    (b"PK\x05\x06", "zip", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "7z x"),
    (b"Rar!", "RAR", "unrar x"),
)


def archive_kind(head: bytes) -> tuple[str, str] | None:
    """Name and unpacking command of the compressed format that a file starts as, or None."""
    return next(((name, command) for start, name, command in ARCHIVES if head.startswith(start)), None)


def inside(root: Path, name: str) -> Path | None:
    """The path of `name` below `root`; None where it would lead out of it, or cannot be a path.

    Only the name is judged. A link on disk was made by who owns the folder (hub caches are full of them).
    """
    if not name or "\0" in name:
        return None
    path = Path(os.path.normpath(root.absolute() / name))
    if not path.is_relative_to(os.path.normpath(root.absolute())):
        return None
    return Path(os.path.normpath(root / name))


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (too long, NUL) is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_at(path: Path, places: list[tuple[int, int]], *, size: int, pair: str) -> list[bytes]:
    """Parts of a file, each as (offset, length).

    Raises:
        PairError: the file is gone, cannot be read, or is not the `size` bytes it was when it was opened.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size:
                raise PairError(pair, "changed", f"{path.name} was changed since it was opened: open it again")
            parts = []
            for offset, length in places:
                file.seek(offset)
                parts.append(file.read(length))
    except OSError as error:
        raise PairError(pair, "missing file", f"{path}: {system_reason(error)}") from error
    return parts


def read_whole(path: Path, pair: str) -> bytes:
    """All bytes of a picture file.

    Raises:
        PairError: it is not there, cannot be read, or is larger than a picture can be.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PairError(pair, "too large", f"{path} is larger than {MOST_BYTES >> 20} MiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise PairError(pair, "missing file", f"{path}: {reason}") from error
