"""Held-out pictures, which nothing in the training data may show."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.pairs import Pair, PairSource, Problem, SourceError, open_pairs
from anmok.pictures import SUFFIXES, find_pictures, picture_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anmok.errors import PictureError

__all__ = ["HeldOut", "open_held_out"]


@dataclass(frozen=True)
class HeldOut:
    """Picture files, then the pictures of sources of pairs; and what could not be used."""

    files: tuple[Path, ...] = ()
    sources: tuple[PairSource, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __len__(self) -> int:
        return len(self.files) + sum(map(len, self.sources))

    def read(self, number: int) -> Pair:
        """One picture, with whatever texts it has.

        Raises:
            PairError: a source cannot give it.
        """
        if number < len(self.files):
            path = self.files[number]
            return Pair(picture_name(path), path, ())
        number -= len(self.files)
        for source in self.sources:
            if number < len(source):
                return source.read(number)
            number -= len(source)
        raise IndexError(f"there is no held-out picture {number}")


def open_held_out(where: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> HeldOut:
    """Open held-out data: pictures, folders of pictures, and whatever `anmok.pairs.open_pairs` takes.

    Raises:
        SourceError: there is no picture; says where.
    """
    paths = [where] if isinstance(where, str | os.PathLike) else list(where)
    files: list[Path] = []
    sources: list[PairSource] = []
    problems: list[Problem] = []

    def note(error: PictureError) -> None:
        problems.append(Problem(error.picture, "folder not listed", error.reason))

    for path in map(Path, paths):
        inside = list(find_pictures(path, on_error=note)) if path.is_dir() else []
        if inside:
            files += inside
        elif path.suffix.lower() in SUFFIXES and path.is_file():
            files.append(path)
        else:
            sources.append(open_pairs(path))
    if not files and not sources:
        raise SourceError("no held-out pictures were given: name pictures, folders of them, or sources of pairs")
    problems += [problem for source in sources for problem in source.problems]
    return HeldOut(tuple(files), tuple(sources), tuple(problems))
