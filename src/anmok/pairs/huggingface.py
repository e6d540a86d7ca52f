"""The layouts of Hugging Face datasets: a metadata file beside the pictures, and Parquet with the pictures in it.

Source: huggingface.co/docs/datasets, "Create an image dataset" (ImageFolder with metadata.csv, .jsonl or .parquet and
its column `file_name`; the feature `Image`, stored as a struct of `bytes` and `path`).
"""

from __future__ import annotations

import hashlib
import json
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import progress
from anmok.pairs.columns import Wanted
from anmok.pairs.fields import read_fields
from anmok.pairs.files import inside, is_file, read_at
from anmok.pairs.kinds import METADATA
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.parquet import open_parquet
from anmok.pairs.problems import Opened, digest
from anmok.pairs.table import open_table
from anmok.pictures import find_pictures, picture_name
from anmok.pictures.read import system_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.errors import PictureError
    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems

__all__ = ["JsonLinesShard", "open_huggingface"]

FILE_NAME = "file_name"
MOST_LINE_BYTES = 1 << 23
TEXT_COLUMNS = ("text", "caption", "title", "alt")


@dataclass(frozen=True, eq=False)
class JsonLinesShard:
    """The lines of one metadata.jsonl."""

    name: str
    path: Path
    size: int  # bytes of the file
    starts: NDArray[np.int64]  # first byte of each line, [n]
    lengths: NDArray[np.int64]  # bytes of each line, [n]
    lines: NDArray[np.int32]  # numbers of the lines, [n]
    options: Options

    def __len__(self) -> int:
        return len(self.lines)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: the picture is not there, or the metadata is gone or changed.
        """
        where = f"{self.name}:{self.lines[index]}"
        place = (int(self.starts[index]), int(self.lengths[index]))
        record = json.loads(read_at(self.path, [place], size=self.size, pair=where)[0])
        given = str(record.pop(_picture_key(record, self.options)))
        name = f"{where}:{picture_name(given)}"
        path = self.path.parent / given
        if not is_file(path):
            raise PairError(name, "missing file", f"{path}: there is no such file")
        fields = read_fields(record, text_key=self.options.named_text, templates=self.options.templates)
        source = self.path.absolute().parent.name if fields.source is None else fields.source
        return Pair(name, path, fields.texts, fields.labels, source, captions=fields.captions, facts=fields.facts)


def open_huggingface(files: Iterable[tuple[str, Path]], options: Options, problems: Problems) -> Iterator[Opened]:
    """Open metadata files and Parquet files, each given as name and path. Pictures must be below their folder.

    Raises:
        SourceError: one has no pictures or no texts, or cannot be read.
        MissingExtra: Parquet without pyarrow.
    """
    for name, path in files:
        before = problems.total
        suffix = path.suffix.lower()
        if suffix == ".csv":
            texts = tuple(filter(None, (options.named_text, *TEXT_COLUMNS)))
            wanted = Wanted((options.image_key, FILE_NAME), texts, contained=True, source=path.absolute().parent.name)
            opened = open_table(name, path, replace(options, separator=","), problems, wanted)
        elif suffix == ".jsonl":
            opened = _open_json_lines(name, path, options, problems)
        else:
            opened = open_parquet(name, path, options, problems)
        if path.name.lower() in METADATA:
            rows = sum(map(len, opened.shards)) + problems.total - before
            _count_pictures(name, path.parent, rows, problems)
        yield opened


def _open_json_lines(name: str, path: Path, options: Options, problems: Problems) -> Opened:
    starts, lengths, numbers = array("q"), array("q"), array("i")
    offset = 0
    try:
        size = path.stat().st_size
        with path.open("rb") as file, progress.task(f"reading {name}", size) as advance:
            for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES), b""), start=1):
                problem = _check(line, path.parent, options) if line.strip() else None
                if problem is not None:
                    problems.add(f"{name}:{number}", *problem)
                elif line.strip():
                    starts.append(offset)
                    lengths.append(len(line))
                    numbers.append(number)
                offset += len(line)
                advance(len(line))
            file.seek(0)
            whole = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {system_reason(error)}") from error
    shard = JsonLinesShard(
        name, path, size, np.array(starts, np.int64), np.array(lengths, np.int64), np.array(numbers, np.int32), options
    )
    return Opened([shard], digest(name, whole, options))


def _check(line: bytes, folder: Path, options: Options) -> tuple[str, str] | None:
    """What is wrong with a line: a short kind and the reason, or None."""
    try:
        record = json.loads(line)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        return "not JSON", f"the line cannot be read: {error}"
    if not isinstance(record, dict):
        return "not JSON", f"expected an object, found {type(record).__name__}"
    key = _picture_key(record, options)
    given = record.get(key)
    if not isinstance(given, str) or not given:
        return "no picture", f"{key!r} is missing; the line has {', '.join(map(repr, record))}"
    if inside(folder, given) is None:
        return "outside", f"{given!r} leads out of the folder of the metadata"
    if not read_fields(record, text_key=options.named_text, templates=options.templates).texts:
        return "no text", f"there is no text; the line has {', '.join(map(repr, record))}"
    return None


def _picture_key(record: dict[str, Any], options: Options) -> str:
    return options.image_key if options.image_key in record else FILE_NAME


def _count_pictures(name: str, folder: Path, rows: int, problems: Problems) -> None:
    """Say how many pictures the metadata does not speak of; compared by number, which costs no memory."""

    def ignore(error: PictureError) -> None:
        """A folder that cannot be listed holds no picture that a row could name."""

    pictures = sum(1 for _ in find_pictures(folder, on_error=ignore))
    if pictures > rows:
        reason = f"{folder} holds {pictures} pictures, and the metadata has rows for {rows} of them at most"
        problems.add(name, "no text", reason, count=pictures - rows)
