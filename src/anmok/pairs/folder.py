"""A folder of pictures for each class, as torchvision's `ImageFolder` reads: the texts come from templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.errors import PictureError
from anmok.pairs.compact import Texts
from anmok.pairs.fields import from_labels
from anmok.pairs.files import is_file
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.problems import Opened, digest
from anmok.pictures import SUFFIXES, find_pictures, picture_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems

__all__ = ["FolderShard", "open_folders"]

SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"}


@dataclass(frozen=True, eq=False)
class FolderShard:
    """The pictures of all classes of one folder."""

    name: str
    path: Path
    names: Texts  # paths of the pictures, relative to the folder
    classes: tuple[str, ...]  # names of the class folders
    numbers: NDArray[np.int32]  # class of each picture, [n]
    templates: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: the picture is gone.
        """
        given = self.names[index]
        name = f"{self.name}:{picture_name(given)}"
        path = self.path / given
        if not is_file(path):
            raise PairError(name, "missing file", f"{path}: there is no such file any more")
        label = self.classes[self.numbers[index]].replace("_", " ")
        return Pair(name, path, from_labels((label,), self.templates), (label,), self.name)


def open_folders(folders: Iterable[tuple[str, Path]], options: Options, problems: Problems) -> Iterator[Opened]:
    """Open folders of classes, each given as name and path.

    The first level below a folder are the classes; pictures may lie deeper. One class alone is opened, with a problem
    that says so: nothing can be told apart.

    Raises:
        SourceError: one has no class, or has splits (train, val) where classes should be.
    """
    for name, folder in folders:
        yield _open_folder(name, folder, options, problems)


def _open_folder(name: str, folder: Path, options: Options, problems: Problems) -> Opened:
    if not folder.is_dir():
        raise SourceError(f"{folder}: is not a folder; kind='folder' expects a folder of pictures for each class")
    children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    found: list[str] = []
    sizes: list[int] = []
    classes: list[str] = []
    numbers: list[int] = []
    with progress.task(f"listing {name}") as advance:
        for child in (child for child in children if child.is_dir()):
            listed = [*_listed(child, problems)]
            found.extend(str(path.relative_to(folder)) for path in listed)
            sizes.extend(_size(path) for path in listed)
            numbers.extend([len(classes)] * len(listed))
            classes.extend([child.name] if listed else [])
            advance(len(listed))
    _check_classes(name, folder, classes, children, problems)
    labels = np.array(numbers, np.int32)
    shard = FolderShard(name, folder, Texts.pack(found), tuple(classes), labels, options.templates)
    parts = (name, shard.names.data, shard.names.ends, np.array(sizes, np.int64), options.templates)
    return Opened([shard], digest(*parts))


def _listed(folder: Path, problems: Problems) -> Iterator[Path]:
    def note(error: PictureError) -> None:
        problems.add(error.picture, "folder not listed", error.reason)

    try:
        yield from find_pictures(folder, on_error=note)
    except PictureError as error:
        note(error)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a broken link: told when it is read
        return -1


def _check_classes(name: str, folder: Path, classes: list[str], children: list[Path], problems: Problems) -> None:
    alone = [child for child in children if child.suffix.lower() in SUFFIXES and child.is_file()]
    if not classes:
        many = f"; it holds {len(alone)} pictures without a class" if alone else ""
        raise SourceError(f"{folder}: there is no folder in it that holds pictures, one for each class{many}")
    if len(classes) > 1 and SPLITS.issuperset(child.lower() for child in classes):
        raise SourceError(
            f"{folder}: {', '.join(classes)} are splits, not classes: open one of them, such as {folder / classes[-1]}"
        )
    if alone:
        reason = f"{len(alone)} pictures, such as {alone[0].name!r}, lie in no folder of a class and are left out"
        problems.add(name, "no class", reason, count=len(alone))
    if len(classes) == 1:
        reason = f"all pictures are of one class, {classes[0]!r}: there is nothing to tell apart"
        problems.add(name, "one class", reason)
