"""Picture files on disk: which there are, whether one changed, and its content read in one piece."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.errors import AnmokError, PictureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


__all__ = [
    "MAX_FILE_BYTES",
    "Content",
    "FileGone",
    "FileState",
    "content_hash",
    "file_state",
    "is_picture_name",
    "read_content",
    "walk",
]

MAX_FILE_BYTES = 1 << 30  # a larger file is refused: its content is held in memory while it is encoded


@dataclass(frozen=True)
class FileState:
    """What a file system says about a file without reading it. Equal states: taken as unchanged."""

    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class Content:
    """A file's bytes, their hash, and the state that the file was in before and after they were read."""

    data: bytes
    hash: str
    state: FileState


class FileGone(AnmokError):
    """A file is not there (any more)."""


def is_picture_name(name: str) -> bool:
    """Whether a name ends like that of a picture file."""
    from anmok.pictures import SUFFIXES

    return Path(name).suffix.lower() in SUFFIXES


def walk(root: Path, on_error: Callable[[PictureError], None]) -> Iterator[str]:
    """Yield the picture files below `root` as posix paths, always in the same order.

    Raises:
        PictureError: `root` is missing or is not a folder. (A subfolder that cannot be listed goes to `on_error`.)
    """
    from anmok.pictures import find_pictures

    for path in find_pictures(root, on_error=on_error):
        yield path.as_posix()


def file_state(path: str) -> FileState:
    """The state of a file now.

    Raises:
        FileGone: it is not there.
        PictureError: it cannot be asked about, or is no regular file.
    """
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if Path(path).is_symlink():
            raise PictureError(path, "is a link to a file that is not there") from error
        raise FileGone(path) from error
    except OSError as error:
        raise PictureError(path, _reason(error)) from error
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer, for ever
        raise PictureError(path, "is not a regular file")
    return FileState(status.st_size, status.st_mtime_ns)


def read_content(path: str) -> Content:
    """Read a whole file once, so that its hash and its pixels are of the same bytes.

    Raises:
        FileGone: it is not there.
        PictureError: it cannot be read, is too large, or was changed meanwhile.
    """
    before = file_state(path)
    if before.bytes > MAX_FILE_BYTES:
        reason = f"has {before.bytes:,} bytes, more than the {MAX_FILE_BYTES:,} that a picture file may have"
        raise PictureError(path, reason)
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise FileGone(path) from error
    except OSError as error:
        raise PictureError(path, _reason(error)) from error
    if file_state(path) != before or len(data) != before.bytes:
        raise PictureError(path, "was changed while it was read; the next run takes it up")
    return Content(data, content_hash(data), before)


def content_hash(data: bytes) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal."""
    return blake2b(data, digest_size=16).hexdigest()


def _reason(error: OSError) -> str:
    from anmok.pictures.read import system_reason

    return system_reason(error)
