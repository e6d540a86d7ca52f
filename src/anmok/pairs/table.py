"""Tables: CSV and TSV with a column of pictures and a column of texts, as open_clip trains on.

A table is gone through once; what stays in memory is where each row begins (12 bytes a row), and a row is parsed when
it is read. Source: `CsvDataset` of github.com/mlfoundations/open_clip, `src/open_clip_train/data.py`.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.pairs.columns import Columns, Wanted, read_header
from anmok.pairs.encoding import SAMPLE, not_text
from anmok.pairs.fields import from_labels
from anmok.pairs.files import inside, is_file, read_at
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.problems import Opened, digest
from anmok.pictures import picture_name
from anmok.pictures.read import system_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems

__all__ = ["TableShard", "open_table", "open_tables"]

LOOKED_AT = 100  # rows whose pictures are looked for when a table is opened
MOST_LINES = 100  # of one row; beyond, a quotation mark was never closed
MOST_ROW_BYTES = 1 << 23
BYTES_A_REPORT = 1 << 22
OPEN_QUOTE = ("open quote", "a quotation mark is never closed; one that belongs to a text must be doubled")


@dataclass(frozen=True, eq=False)
class TableShard:
    """The rows of one table."""

    name: str
    path: Path
    size: int  # bytes of the file
    text: bytes | None  # the table as UTF-8, where its own encoding or line ends allow no jumping
    encoding: str
    columns: Columns
    starts: NDArray[np.int64]  # byte at which each row begins, and at which the last one ends, [n + 1]
    lines: NDArray[np.int32]  # line of the file in which each row begins, [n]
    contained: bool  # whether pictures must be below the table's folder
    source: str  # of rows that do not say theirs
    templates: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.lines)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: the picture is not there, its path cannot be used, or the table is gone or changed.
        """
        row = self.row(index)
        given = row.pop(self.columns.picture)
        name = f"{self.name}:{self.lines[index]}:{picture_name(given)}"
        path = self._path(given, name)
        if not is_file(path):
            raise PairError(name, "missing file", f"{path}: there is no such file{self._relative(given)}")
        labels = tuple(filter(None, (row.get("label"),)))
        texts, captions = self._texts(row)
        row.pop("label", None)
        source = row.pop("source", "") or self.source
        facts = {column: value for column, value in row.items() if value}
        return Pair(name, path, texts, labels, source, captions=captions, facts=facts)

    def row(self, index: int) -> dict[str, str]:
        """The cells of one row by column, without white space around them.

        Raises:
            PairError: the table is gone or changed.
        """
        start = int(self.starts[index])
        length = min(int(self.starts[index + 1]) - start, MOST_ROW_BYTES)
        if self.text is not None:
            data = self.text[start : start + length]
        else:
            (data,) = read_at(self.path, [(start, length)], size=self.size, pair=f"{self.name}:{self.lines[index]}")
        lines = io.StringIO(data.decode(self.encoding, "replace"), newline="")  # cut letters are behind the row
        cells = next(csv.reader(lines, delimiter=self.columns.separator))
        return {name: cell.strip() for name, cell in zip(self.columns.names, cells, strict=True)}

    def _texts(self, row: dict[str, str]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        """Texts and captions by language; takes their columns out of the row."""
        if not self.columns.text:
            return from_labels(filter(None, (row["label"], row.get("label_ko"))), self.templates), {}
        title, korean = row.pop(self.columns.text), row.pop(f"{self.columns.text}_ko", "")
        languages = {"en": (title,), "ko": (korean,)} if korean else {}
        return tuple(dict.fromkeys(filter(None, (title, korean)))), {k: v for k, v in languages.items() if v[0]}

    def _path(self, given: str, name: str) -> Path:
        if not self.contained:
            return self.path.parent / given
        path = inside(self.path.parent, given)
        if path is None:  # cannot be: such rows were left out
            raise PairError(name, "outside", f"{given!r} leads out of {self.path.parent}")
        return path

    def _relative(self, given: str) -> str:
        return "" if Path(given).is_absolute() else " (paths are relative to the table's folder)"


def open_tables(files: Iterable[tuple[str, Path]], options: Options, problems: Problems) -> Iterator[Opened]:
    """Open tables, each given as name and path.

    Raises:
        SourceError: one has not the columns, is not in the encoding, or cannot be read.
    """
    for name, path in files:
        yield open_table(name, path, options, problems, Wanted((options.image_key,), (options.text_key,)))


def open_table(name: str, path: Path, options: Options, problems: Problems, wanted: Wanted) -> Opened:
    """Open one table; it takes another separator where only that one fits the header.

    Raises:
        SourceError: it has not the columns, is not in the encoding, or cannot be read.
    """
    try:
        size = path.stat().st_size
        text, encoding = _in_memory(path, options.encoding)
        with io.BytesIO(text) if text is not None else path.open("rb") as file:
            lines = _Lines(file, encoding, path)
            columns = read_header(path, lines, options.separator, wanted)
            starts, numbers = _rows(name, path, lines, columns, problems, contained=wanted.contained)
            file.seek(0)
            whole = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise SourceError(f"{path}: the table cannot be read: {system_reason(error)}") from error
    source = wanted.source or path.stem
    shard = TableShard(
        name, path, size, text, encoding, columns, starts, numbers, wanted.contained, source, options.templates
    )
    if len(shard):
        _look_for_pictures(shard, problems)
    return Opened([shard], digest(name, whole, columns, options.templates))


class _Lines:
    """The lines of a table as text; knows how many bytes and lines were taken."""

    def __init__(self, file: IO[bytes], encoding: str, path: Path) -> None:
        self.file = file
        self.encoding = encoding
        self.path = path
        self.offset = 3 if file.read(3) == codecs.BOM_UTF8 else 0
        self.number = 0
        self.ended = False
        file.seek(self.offset)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MOST_ROW_BYTES)
        if not line:
            self.ended = True
            raise StopIteration
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError as error:
            more = line + self.file.read(SAMPLE)
            reason = not_text(more, error, at=self.offset)
            raise SourceError(f"{self.path}: line {self.number + 1}: {reason}") from None
        self.offset += len(line)
        self.number += 1
        return text


def _in_memory(path: Path, encoding: str) -> tuple[bytes | None, str]:
    """The whole table as UTF-8, where one cannot jump to a line of it (UTF-16, line ends of old Macs)."""
    encoding = "utf-8" if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig") else encoding
    with path.open("rb") as file:
        head = file.read(SAMPLE)
    if "\n".encode(encoding) == b"\n" and (b"\n" in head or b"\r" not in head):
        return None, encoding
    data = path.read_bytes()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: {not_text(data, error)}") from None
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").encode(), "utf-8"


def _rows(
    name: str, path: Path, lines: _Lines, columns: Columns, problems: Problems, *, contained: bool
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where the rows that can be used begin (and the last one ends), and their lines."""
    starts, numbers = array("q"), array("i")
    reader = csv.reader(lines, delimiter=columns.separator)
    check = _Check(columns, path.parent if contained else None)
    with progress.task(f"reading {name}", path.stat().st_size) as advance:
        reported = 0
        while True:
            start, line = lines.offset, lines.number + 1
            wrong: tuple[str, str] | None
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error:  # a field of more than 131,072 letters
                wrong = OPEN_QUOTE
            else:
                # A row for which the reader went on to the end of the file is one whose quotation mark is open.
                wrong = OPEN_QUOTE if row and lines.ended else check(row, lines.number - line)
            if wrong is not None:
                more = lines.number - line
                reason = f"line {line}{f' to {lines.number}' if more else ''}: {wrong[1]}"
                problems.add(f"{name}:{line}", wrong[0], reason, count=more + 1 if wrong is OPEN_QUOTE else 1)
            elif row:
                starts.append(start)
                numbers.append(line)
            if lines.offset - reported > BYTES_A_REPORT:
                advance(lines.offset - reported)
                reported = lines.offset
    starts.append(lines.offset)
    return np.array(starts, np.int64), np.array(numbers, np.int32)


class _Check:
    """Says what is wrong with a row: a short kind and the reason, or None."""

    def __init__(self, columns: Columns, folder: Path | None) -> None:
        self.count = len(columns.names)
        self.picture = columns.names.index(columns.picture)
        named = (columns.text, f"{columns.text}_ko") if columns.text else ("label", "label_ko")
        self.texts = [columns.names.index(name) for name in named if name in columns.names]
        self.text = columns.text or "label"
        self.folder = folder

    def __call__(self, row: list[str], more_lines: int) -> tuple[str, str] | None:
        if not row:  # a blank line
            return None
        if more_lines >= MOST_LINES:
            return OPEN_QUOTE
        if len(row) != self.count:
            quote = "; a text that holds the separator must be in quotation marks" if len(row) > self.count else ""
            return "bad row", f"{len(row)} fields where the header has {self.count}{quote}"
        picture = row[self.picture].strip()
        if not picture:
            return "no picture", "the path of the picture is empty"
        if "\0" in picture:
            return "bad path", f"{picture!r} cannot be a path"
        if self.folder is not None and inside(self.folder, picture) is None:
            return "outside", f"{picture!r} leads out of the folder of the table"
        if not any(row[index].strip() for index in self.texts):
            return "no text", f"{self.text!r} is empty"
        return None


def _look_for_pictures(shard: TableShard, problems: Problems) -> None:
    """Say at once where no picture can be found; a single missing one is told when it is read."""
    tried = np.unique(np.linspace(0, len(shard) - 1, LOOKED_AT).astype(int))
    given = [shard.row(int(index))[shard.columns.picture] for index in tried]
    if not any(is_file(shard.path.parent / name) for name in given):
        example = shard.path.parent / given[0]
        reason = f"none of {len(given)} pictures looked for is there, such as {example}"
        problems.add(shard.name, "missing files", f"{reason}; paths are relative to the table's folder")
