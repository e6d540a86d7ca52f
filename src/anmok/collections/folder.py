"""Picture files on disk: which there are, whether one changed, and its content read in one piece."""

from __future__ import annotations

import io
import stat
import warnings
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from anmok.errors import AnmokError, PictureError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL import Image

    from anmok.encoder import Picture

__all__ = [
    "MAX_FILE_BYTES",
    "Content",
    "FileGone",
    "FileState",
    "content_hash",
    "file_state",
    "is_picture_name",
    "picture_size",
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


def picture_size(picture: Picture) -> tuple[int | None, int | None]:
    """Width and height of a picture as it is seen (upright); None where they cannot be told.

    Args:
        picture: bytes of a file (only its header is read), PIL picture, or array [h, w, ...].
    """
    if isinstance(picture, np.ndarray):
        return int(picture.shape[1]), int(picture.shape[0])
    try:
        return _size_of_bytes(picture) if isinstance(picture, bytes) else _upright_size(cast("Image.Image", picture))
    except Exception:  # its pixels were read before; if its metadata is odd, the size is left open
        return None, None


def _size_of_bytes(data: bytes) -> tuple[int, int]:
    from PIL import Image

    from anmok.pictures import FORMATS

    formats = [*FORMATS, *(name for name in ("HEIF",) if name in Image.OPEN)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            return _upright_size(picture)


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    from anmok.pictures.color import lies_on_its_side

    width, height = picture.size
    return (height, width) if lies_on_its_side(picture) else (width, height)


def _reason(error: OSError) -> str:
    from anmok.pictures.read import system_reason

    return system_reason(error)
