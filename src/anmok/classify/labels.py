"""Labels: what a classifier may answer, from a list, a text file or a CSV."""

from __future__ import annotations

import csv
import io
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.errors import LabelError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Label", "LabelSet"]

COLUMNS = ("label", "synonyms", "ko", "parent")
SEPARATORS = "|;"  # between synonyms


@dataclass(frozen=True)
class Label:
    """One answer that a classifier may give.

    `name`: what predictions are called.
    `synonyms`: other words for the same thing; each is encoded beside the name.
    `ko`: its Korean name, if the name is not Korean already.
    `parent`: the wider label it belongs to ("tabby" → "cat"); need not be a label of its own.
    """

    name: str
    synonyms: tuple[str, ...] = ()
    ko: str | None = None
    parent: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _clean(self.name))
        object.__setattr__(self, "synonyms", tuple(filter(None, map(_clean, self.synonyms))))
        object.__setattr__(self, "ko", _clean(self.ko or "") or None)
        object.__setattr__(self, "parent", _clean(self.parent or "") or None)
        if not self.name:
            raise LabelError("a label is empty: give it a name")
        if self.parent == self.name:
            raise LabelError(f"label {self.name!r} is its own parent: name a wider label, or leave the parent empty")

    @property
    def texts(self) -> tuple[str, ...]:
        """Every name that is encoded: the name, the synonyms and the Korean name, each once."""
        return tuple(dict.fromkeys((self.name, *self.synonyms, *([self.ko] if self.ko else ()))))


@dataclass(frozen=True)
class LabelSet:
    """Labels in order, each name once, parents without cycles.

    >>> labels = LabelSet(["cat", Label("dog", synonyms=("puppy",), ko="개")])
    >>> labels.names
    ('cat', 'dog')
    """

    labels: tuple[Label, ...]
    _parents: dict[str, str | None] = field(init=False, repr=False, compare=False)

    def __init__(self, labels: Iterable[Label | str]) -> None:
        if isinstance(labels, (str, bytes)):
            raise LabelError(f"expected a list of labels, not the text {labels!r}: use [{labels!r}] or LabelSet.parse")
        items = tuple(label if isinstance(label, Label) else Label(_text(label)) for label in labels)
        if not items:
            raise LabelError("there are no labels: give at least one")
        object.__setattr__(self, "labels", items)
        object.__setattr__(self, "_parents", {label.name: label.parent for label in items})
        self._check()

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each label, in order."""
        return tuple(label.name for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __getitem__(self, index: int) -> Label:
        return self.labels[index]

    def path(self, name: str) -> tuple[str, ...]:
        """The label, its parent, the parent's parent, … up to the widest.

        >>> LabelSet([Label("tabby", parent="cat"), Label("cat", parent="animal")]).path("tabby")
        ('tabby', 'cat', 'animal')
        """
        path = [name]
        while (parent := self._parents.get(path[-1])) is not None:
            path.append(parent)
        return tuple(path)

    @staticmethod
    def parse(text: str) -> LabelSet:
        """What a command line takes: `a,b,c`, or the name of a text file or CSV.

        Raises:
            LabelError: no such file, or the labels cannot be used.
        """
        path = Path(text)
        looks_like_file = "," not in text and (path.suffix.lower() in {".txt", ".csv", ".tsv"} or len(path.parts) > 1)
        if looks_like_file or _is_file(path):
            return LabelSet.read(path)
        return LabelSet([part for part in text.split(",") if part.strip()])

    @staticmethod
    def read(path: str | Path, *, encoding: str | None = None) -> LabelSet:
        """Read a file of labels.

        A `.csv` or `.tsv` has a header with the column `label` and any of `synonyms` (separated by `|` or `;`),
        `ko` and `parent`. Any other file holds one label a line; empty lines and lines starting with `#` are skipped.

        Args:
            path: the file.
            encoding: of the file; UTF-8, with or without a byte order mark, unless given.

        Raises:
            LabelError: the file cannot be read, or labels cannot be used; all problems at once, with line numbers.
        """
        path = Path(path)
        text = _read_text(path, encoding)
        rows = _csv_rows(text, path) if path.suffix.lower() in {".csv", ".tsv"} else _text_rows(text)
        problems: list[str] = []
        labels: list[Label] = []
        line_of: dict[str, int] = {}
        for line, row in rows:
            try:
                label = _label_of(row)
            except LabelError as error:
                problems.append(f"line {line}: {error}")
                continue
            if label.name in line_of:
                problems.append(f"line {line}: {label.name!r} is already in line {line_of[label.name]}")
                continue
            line_of[label.name] = line
            labels.append(label)
        if problems:
            raise LabelError(f"{path}: {_first(problems)}")
        try:
            return LabelSet(labels)
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from None

    def write(self, path: str | Path) -> None:
        """Write a CSV (UTF-8 with a byte order mark, which Excel needs for Korean) that `read` takes back.

        Raises:
            LabelError: a synonym holds one of the separators, or the file cannot be written.
        """
        for label in self.labels:
            for synonym in label.synonyms:
                if any(separator in synonym for separator in SEPARATORS):
                    raise LabelError(f"synonym {synonym!r} of {label.name!r} holds '|' or ';', which separate synonyms")
        table = io.StringIO(newline="")
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        for label in self.labels:
            writer.writerow([label.name, "|".join(label.synonyms), label.ko or "", label.parent or ""])
        try:
            Path(path).write_text(table.getvalue(), encoding="utf-8-sig", newline="")
        except OSError as error:
            raise LabelError(f"{path}: labels cannot be written: {error.strerror or error}") from error

    def _check(self) -> None:
        """Each name once; following parents never comes back."""
        seen: set[str] = set()
        twice = [name for name in self.names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
        if twice:
            raise LabelError(f"labels given twice: {_first([repr(name) for name in dict.fromkeys(twice)], ', ')}")
        ends: set[str] = set()  # from here the parents come to an end
        for name in self._parents:
            path = [name]
            while path[-1] not in ends and (parent := self._parents.get(path[-1])) is not None:
                if parent in path:
                    circle = [*path[path.index(parent) :], parent]
                    raise LabelError(f"parents go in a circle: {' → '.join(circle)}. Take one of the parents away")
                path.append(parent)
            ends.update(path)


def _label_of(row: dict[str, str]) -> Label:
    synonyms = row.get("synonyms", "")
    for separator in SEPARATORS[1:]:
        synonyms = synonyms.replace(separator, SEPARATORS[0])
    return Label(row["label"], tuple(synonyms.split(SEPARATORS[0])), row.get("ko"), row.get("parent"))


def _text_rows(text: str) -> list[tuple[int, dict[str, str]]]:
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, {"label": line}) for number, line in lines if line and not line.startswith("#")]


def _csv_rows(text: str, path: Path) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV with the line each begins at. The header says which of comma, tab or semicolon separates."""
    header = text.split("\n", 1)[0]
    delimiter = "\t" if "\t" in header else ";" if ";" in header and "," not in header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    columns: list[str] | None = None
    problems: list[str] = []
    line = 1
    try:
        for fields in reader:
            begins, line = line, reader.line_num + 1
            if not any(field.strip() for field in fields) or fields[0].lstrip().startswith("#"):
                continue
            if columns is None:
                columns = _columns(fields, path)
            elif len(fields) > len(columns):
                problems.append(f"line {begins}: {len(fields)} fields, the header has {len(columns)} (quote commas)")
            else:
                rows.append((begins, dict(zip(columns, fields, strict=False))))
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if problems:
        raise LabelError(f"{path}: {_first(problems)}")
    return rows


def _columns(fields: list[str], path: Path) -> list[str]:
    columns = [field.strip().lower() for field in fields]
    unknown = [f"{name!r} is not a column.{did_you_mean(name, COLUMNS)}" for name in columns if name not in COLUMNS]
    if "label" not in columns:
        unknown.append("there is no column 'label'")
    if len(set(columns)) < len(columns):
        unknown.append("a column is there twice")
    if unknown:
        raise LabelError(f"{path}: {' '.join(unknown)} The first line names the columns: {', '.join(COLUMNS)}")
    return columns


def _read_text(path: Path, encoding: str | None) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelError(f"{path}: labels cannot be read: {error.strerror or error}") from error
    try:
        text = data.decode(encoding or "utf-8-sig")
    except LookupError:
        raise LabelError(f"{path}: {encoding!r} is not an encoding that Python knows") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(f"{path}: line {line} is not {encoding or 'UTF-8'}. {_way_out(data)}") from None
    if "\0" in text:
        raise LabelError(f"{path}: this is not a text file. {_way_out(data)}")
    return text


def _way_out(data: bytes) -> str:
    """What the bytes look like, and what to do about it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "It looks like UTF-16: save it as UTF-8, or read it with encoding='utf-16'."
    try:
        korean = any("가" <= character <= "힣" for character in data.decode("cp949"))
    except UnicodeDecodeError:
        korean = False
    if korean and b"\0" not in data:
        return "It looks like CP949 (Korean Excel): save it as 'CSV UTF-8', or read it with encoding='cp949'."
    return "Save it as UTF-8 text, or name its encoding."


def _text(label: object) -> str:
    if not isinstance(label, str):
        raise LabelError(f"a label must be a string or a Label, not {type(label).__name__} {label!r}")
    return label


def _clean(text: str) -> str:
    """One space between words, composed Hangul (macOS writes it decomposed)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long for a file name: a list of labels
        return False


def _first(problems: list[str], joint: str = "; ", most: int = 10) -> str:
    more = f"{joint}and {len(problems) - most} more" if len(problems) > most else ""
    return joint.join(problems[:most]) + more
