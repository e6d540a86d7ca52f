"""Files of uploaded pictures, kept in step with the rows that stand for them.

A file and a row cannot be written in one stroke. So what is about to change is noted first, beside a link to each file
as it was; a process that is killed in between leaves the note, and whoever opens the collection next takes back the
files that no row stands for.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager, suppress
from glob import escape
from typing import TYPE_CHECKING

from anmok.collections.folder import content_hash
from anmok.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from anmok.collections import Collection

__all__ = ["delete_empty_folders", "kept_in_step", "take_back", "taken_by_another"]

BEFORE = ".before"  # no id's file begins with a point
NOTE = "note.json"


@contextmanager
def kept_in_step(folder: Path, files: Mapping[str, Path], collection: Collection) -> Iterator[None]:
    """Change files and rows in the block; one change of a folder at a time.

    Args:
        folder: of the collection's uploads.
        files: of the pictures that are changed, by key.
        collection: that has the rows.

    Raises:
        OSError: a file cannot be written.
    """
    take_back(folder, collection)
    before = folder / BEFORE
    before.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files.values()):
        _link(file, before / str(number))
    noted = {key: file.relative_to(folder).as_posix() for key, file in files.items()}
    write_whole(before / NOTE, json.dumps(noted).encode(), lasting=True)
    try:
        yield
    except BaseException:
        take_back(folder, collection)
        raise
    _forget(before)


def take_back(folder: Path, collection: Collection) -> None:
    """Undo what a change that was cut short did to the files, where the rows know nothing of it."""
    before = folder / BEFORE
    if not before.is_dir():
        return
    with suppress(FileNotFoundError):  # killed before it was noted: nothing had been changed
        noted = json.loads((before / NOTE).read_bytes())
        for number, (row, path) in enumerate(zip(collection.get(list(noted)), noted.values(), strict=True)):
            file, old = folder / path, before / str(number)
            for unfinished in file.parent.glob(f".{escape(file.name)}.*.tmp"):
                unfinished.unlink()
            if row is not None and _fits(file, row.metadata["hash"]):
                continue
            if row is not None and old.exists():
                old.replace(file)
            elif row is None:
                file.unlink(missing_ok=True)
                delete_empty_folders(folder, file)
    _forget(before)


def taken_by_another(folder: Path, file: Path, coming: set[Path]) -> bool:
    """Whether a file cannot be where it should: another is called like one of its folders, or the other way round.

    `coming`: files that will be written before it.
    """
    above = [parent for parent in file.parents if parent.is_relative_to(folder) and parent != folder]
    if file.is_dir() or any(parent.is_file() or parent in coming for parent in above):
        return True
    return any(file in other.parents for other in coming)


def delete_empty_folders(folder: Path, file: Path) -> None:
    """Those that a deleted file leaves below the folder."""
    for parent in file.parents:
        if parent == folder or not parent.is_relative_to(folder):
            return
        try:
            parent.rmdir()
        except OSError:  # something else is in it
            return


def _link(file: Path, other: Path) -> None:
    with suppress(FileNotFoundError):
        try:
            os.link(file, other)
        except FileNotFoundError:
            raise
        except OSError:  # not every file system has links
            shutil.copy2(file, other)


def _fits(file: Path, content: str) -> bool:
    try:
        return content_hash(file.read_bytes()) == content
    except OSError:
        return False


def _forget(before: Path) -> None:
    (before / NOTE).unlink(missing_ok=True)  # first: without it the links mean nothing
    shutil.rmtree(before, ignore_errors=True)
