"""Which files below a folder are pictures, by their suffix, in an order that never changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.errors import PictureError
from anmok.pictures.read import picture_name, system_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SUFFIXES", "find_pictures"]

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".ico", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".heic", ".heif"}
)


def find_pictures(
    folder: str | os.PathLike[str],
    *,
    on_error: Callable[[PictureError], None] | None = None,
) -> Iterator[Path]:
    """Yield the picture files below `folder`, folder by folder, sorted by name.

    A file counts by its suffix, in any case. Names that start with a dot are left out, files
    and folders alike (`.git`, `.thumbnails`, macOS's `._x.jpg`). Links to files are followed,
    links to folders are not, so a loop cannot catch the walk. What merely looks like a picture
    (a broken link, a pipe) is yielded: `read` says what is wrong with it.

    Args:
        folder: where to look.
        on_error: takes a PictureError for a subfolder that cannot be listed, and the walk goes
            on; without it, the error is raised.

    Raises:
        PictureError: `folder` is missing, is not a folder, or cannot be listed.
    """
    root = Path(folder)
    if not root.exists():
        raise PictureError(picture_name(root), "there is no such folder")
    if not root.is_dir():
        raise PictureError(picture_name(root), "is a file, expected a folder")
    yield from _walk(root, on_error)


def _walk(folder: Path, on_error: Callable[[PictureError], None] | None) -> Iterator[Path]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        problem = PictureError(picture_name(folder), f"cannot list this folder: {system_reason(error)}")
        if on_error is None:
            raise problem from error
        on_error(problem)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name, on_error)
        elif Path(entry.name).suffix.lower() in SUFFIXES and not entry.is_dir():
            yield folder / entry.name
