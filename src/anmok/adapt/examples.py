"""Labelled pictures to adapt to: a folder with a folder per label, or a table.

What would spoil the result is left out and told: a picture that stands under two labels, or twice under one (it would
be asked for what it was just shown).
"""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anmok.classify import Label, LabelSet
from anmok.errors import AnmokError, did_you_mean
from anmok.pairs.encoding import not_text
from anmok.pictures import find_pictures

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["NONE", "ExampleError", "Examples", "Problem", "read_examples", "read_pictures"]

NONE = "none"  # a folder or label of this name holds pictures of none of the labels
PICTURE_COLUMNS = ("filepath", "picture", "path", "file_name", "image")
LABEL_COLUMNS = ("label", "class")


class ExampleError(AnmokError):
    """Examples cannot be used."""


@dataclass(frozen=True)
class Problem:
    """An example that was left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Examples:
    """Pictures, what each of them shows, and what else is known of them.

    `pictures`, `names`: what is encoded, and how messages call it, [n].
    `targets`: int64 [n], which of `labels` each shows; -1 where it shows none of them.
    `columns`: name → a cell for each picture, "" where it is missing.
    `problems`: what was left out.
    """

    pictures: tuple[Path | bytes, ...]
    names: tuple[str, ...]
    targets: NDArray[np.int64]
    labels: LabelSet
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what nothing can be learned from."""
        if not len(self.pictures) == len(self.names) == len(self.targets):
            raise ValueError("pictures, names and targets differ in number")
        if len(self.labels) < 2:
            raise ExampleError(
                f"there is one label only, {self.labels[0].name!r}: to tell things apart, give pictures of at least "
                "two. (For faults among pictures of one thing: anmok inspect)"
            )

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Examples of each label, [m]."""
        counts: NDArray[np.int64] = np.bincount(self.targets[self.targets >= 0], minlength=len(self.labels))
        return counts

    def take(self, rows: Sequence[int] | NDArray[np.intp], *, problems: Iterable[Problem] = ()) -> Examples:
        """Some of the examples, in this order; the labels stay."""
        return replace(
            self,
            pictures=tuple(self.pictures[row] for row in rows),
            names=tuple(self.names[row] for row in rows),
            targets=self.targets[np.asarray(rows, np.intp)],
            columns={name: tuple(cells[row] for row in rows) for name, cells in self.columns.items()},
            problems=(*self.problems, *problems),
        )

    def shots(self, count: int, *, seed: int = 0) -> Examples:
        """At most so many pictures of each label, drawn at random; pictures of none of them stay."""
        random = np.random.default_rng(seed)
        kept = [
            random.permutation(np.flatnonzero(self.targets == target))[: len(self) if target < 0 else count]
            for target in range(-1, len(self.labels))
        ]
        return self.take(np.sort(np.concatenate(kept)))


def read_examples(path: str | Path, *, labels: LabelSet | None = None) -> Examples:
    """Read labelled pictures.

    Args:
        path: a folder with a folder of pictures per label (`_` in its name is read as a space), or a CSV or TSV with
            the columns `filepath` (relative to the table) and `label`. Every further column of a table is known of
            its picture: a number, or a word of a few. Pictures labelled `none` show none of the labels.
        labels: synonyms, Korean names and parents of the labels; labels without an example stay, and are answered by
            their words.

    Raises:
        ExampleError: there is nothing to learn from; says what was expected.
    """
    path = Path(path)
    columns: dict[str, tuple[str, ...]] = {}
    if path.is_dir():
        found = _read_folder(path)
    elif path.suffix.lower() in {".csv", ".tsv", ".txt"} and path.is_file():
        found, columns = _read_table(path)
    elif path.exists():
        raise ExampleError(f"{path}: expected a folder with a folder of pictures per label, or a .csv or .tsv")
    else:
        raise ExampleError(f"{path}: there is no such file or folder")
    if not found:
        raise ExampleError(f"{path}: there are no pictures in it")
    given = [label for _, label in found]
    known = _label_set(path, given, labels)
    place = {name: number for number, name in enumerate(known.names)} | {NONE: -1}
    targets = np.array([place[label] for label in given], np.int64)
    names = [str(picture.relative_to(path) if path.is_dir() else picture) for picture, _ in found]
    every = Examples(tuple(picture for picture, _ in found), tuple(names), targets, known, columns)
    return _without_repeats(every)


def read_pictures(path: Path) -> tuple[list[Path], dict[str, tuple[str, ...]]]:
    """Pictures of a table to be recognised, and the cells of its other columns by name; it needs no labels.

    Raises:
        ExampleError: it cannot be read, or has no column of pictures.
    """
    found, columns = _read_table(path, labelled=False)
    return [picture for picture, _ in found], columns


def _read_folder(folder: Path) -> list[tuple[Path, str]]:
    loose = [child for child in folder.iterdir() if child.is_file() and not child.name.startswith(".")]
    inside = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    if not inside:
        raise ExampleError(
            f"{folder}: expected a folder of pictures for each label, such as {folder}/cup/1.jpg and "
            f"{folder}/컵/1.jpg; found {len(loose)} files and no folders"
        )
    return [(picture, _clean(child.name.replace("_", " "))) for child in inside for picture in find_pictures(child)]


def _read_table(path: Path, *, labelled: bool = True) -> tuple[list[tuple[Path, str]], dict[str, tuple[str, ...]]]:
    """Pictures with their labels ("" where no column of them is asked for), and the cells of the other columns."""
    rows = _rows(path)
    names = list(rows.fieldnames or [])
    picture_column, label_column = (
        next((name for name in wanted if name in names), "") for wanted in (PICTURE_COLUMNS, LABEL_COLUMNS)
    )
    if not picture_column or (labelled and not label_column) or len(set(names)) < len(names):
        missing = [] if picture_column else [f"no column 'filepath'.{did_you_mean('filepath', names)}"]
        missing += [] if label_column or not labelled else [f"no column 'label'.{did_you_mean('label', names)}"]
        why = " ".join(missing) or "a column is there twice."
        raise ExampleError(f"{path}: {why} Columns: {', '.join(names)}")
    others = [name for name in names if name not in (picture_column, label_column)]
    found: list[tuple[Path, str]] = []
    cells: dict[str, list[str]] = {name: [] for name in others}
    for row in rows:
        line = rows.line_num
        if None in row or None in row.values():
            raise ExampleError(f"{path}: line {line} has not {len(names)} fields: quote what holds a separator")
        label = _clean(row[label_column]) if label_column else ""
        if not row[picture_column].strip() or (labelled and not label):
            raise ExampleError(f"{path}: line {line}: {picture_column} or {label_column} is empty")
        found.append((path.parent / row[picture_column].strip(), label))
        for name in others:
            cells[name].append(row[name].strip())
    return found, {name: tuple(column) for name, column in cells.items()}


def _rows(path: Path) -> csv.DictReader[str]:
    """The rows of a table; its header says which of tab, comma and semicolon separates."""
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise ExampleError(f"{path}: the table cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ExampleError(f"{path}: {not_text(data, error).split(': pass')[0]}: save the file as UTF-8") from None
    header = text.split("\n", 1)[0]
    separator = "\t" if "\t" in header else ";" if ";" in header and "," not in header else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    rows.fieldnames = [name.strip() for name in rows.fieldnames or []]
    return rows


def _label_set(path: Path, given: Sequence[str], labels: LabelSet | None) -> LabelSet:
    names = sorted(set(given) - {NONE})
    if not names:
        raise ExampleError(f"{path}: all pictures are labelled {NONE!r}: give pictures of the labels themselves")
    if labels is None:
        return LabelSet([Label(name) for name in names])
    for name in names:
        if name not in labels.names:
            raise ExampleError(
                f"{path}: {name!r} is not among the labels given.{did_you_mean(name, labels.names)} "
                f"Add it there, or call it {NONE!r}"
            )
    return labels


def _without_repeats(examples: Examples) -> Examples:
    """Pictures that are there twice, once; those that stand under several labels, not at all."""
    digests = [_digest(picture) for picture in examples.pictures]
    first: dict[bytes, int] = {}
    kept: list[int] = []
    problems: list[Problem] = []
    labels_of: dict[bytes, set[int]] = {}
    for digest, target in zip(digests, examples.targets, strict=True):
        labels_of.setdefault(digest, set()).add(int(target))
    for row, digest in enumerate(digests):
        earlier = first.setdefault(digest, row)
        if len(labels_of[digest]) > 1:
            called = " and ".join(repr(_called(examples, target)) for target in sorted(labels_of[digest]))
            problems.append(Problem(examples.names[row], f"the same picture is labelled {called}: decide which it is"))
        elif earlier != row:
            problems.append(Problem(examples.names[row], f"the same picture as {examples.names[earlier]}: one is used"))
        else:
            kept.append(row)
    return examples.take(kept, problems=problems)


def _called(examples: Examples, target: int) -> str:
    return NONE if target < 0 else examples.labels[target].name


def _digest(picture: Path | bytes) -> bytes:
    """Of the file's bytes; of the path, where it cannot be read (encoding it will say why)."""
    try:
        data = picture if isinstance(picture, bytes) else picture.read_bytes()
    except OSError:
        data = b"unreadable " + str(picture).encode(errors="surrogateescape")
    return blake2b(data, digest_size=16).digest()


def _clean(text: str) -> str:
    """One space between words, composed Hangul, as labels are kept."""
    return " ".join(unicodedata.normalize("NFC", text).split())
