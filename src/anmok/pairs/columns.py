"""The header of a table: which columns there are, how they are separated, and which are meant."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anmok.errors import did_you_mean
from anmok.pairs.pair import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Columns", "Wanted", "read_header"]

SEPARATORS = ("\t", ",", ";", "|")  # tried where the given one does not fit
TEXT_COLUMNS = ("title", "caption", "text", "label")  # usual names, for hints
IMAGE_COLUMNS = ("filepath", "file_name", "image", "path")


@dataclass(frozen=True)
class Wanted:
    """Which columns are looked for, the first that is there is taken; and where pictures may be.

    `contained`: pictures must be below the table's folder. `source`: the data set, else named as the table is.
    """

    pictures: tuple[str, ...]
    texts: tuple[str, ...]
    contained: bool = False
    source: str = ""


@dataclass(frozen=True)
class Columns:
    """What the header says: all names, how they are separated, and which are the picture and the text.

    `text` is empty where there are labels only, which are put into the templates.
    """

    names: tuple[str, ...]
    separator: str
    picture: str
    text: str


def read_header(path: Path, lines: Iterable[str], separator: str, wanted: Wanted) -> Columns:
    """Read the header of a table: the first of its lines that is not blank.

    Raises:
        SourceError: a column is not there; lists those that are, and near names.
    """
    header = next((line for line in lines if line.strip()), "")
    if not header:
        raise SourceError(f"{path}: the table is empty: its first line must name the columns")
    found: list[Columns] = []
    for tried in dict.fromkeys((separator, *SEPARATORS)):
        names = tuple(name.strip() for name in next(csv.reader([header], delimiter=tried)))
        picture, text = (next((key for key in keys if key in names), "") for keys in (wanted.pictures, wanted.texts))
        columns = Columns(names, tried, picture, text)
        if picture and (text or "label" in names):
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if repeated:
                raise SourceError(f"{path}: the column {repeated[0]!r} is there twice: rename or remove one")
            return columns
        found.append(columns)
    raise SourceError(f"{path}: {_missing(max(found, key=lambda columns: len(columns.names)), wanted)}")


def _missing(columns: Columns, wanted: Wanted) -> str:
    """Which columns are not there, and what may be meant."""
    parts = []
    for option, keys, there, usual in (
        ("image_key", wanted.pictures, columns.picture, IMAGE_COLUMNS),
        ("text_key", wanted.texts, columns.text, TEXT_COLUMNS),
    ):
        if not there:
            near = next((name for name in columns.names if name.lower() in usual), None)
            hint = f" Pass {option}={near!r}?" if near else did_you_mean(keys[0], columns.names)
            parts.append(f"There is no column {' or '.join(map(repr, keys))}.{hint}")
    named = ", ".join(repr(name) for name in columns.names)
    return f"{' '.join(parts)} Columns: {named}. image_key, text_key and separator say which are meant"
