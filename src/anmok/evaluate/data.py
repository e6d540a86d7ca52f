"""Evaluation data: pictures with their labels and captions, from tar shards, a folder of classes, or a CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.errors import AnmokError, did_you_mean
from anmok.pairs import PairError, SourceError
from anmok.pairs.options import Options
from anmok.pairs.problems import Problems
from anmok.pairs.shards import index_shard
from anmok.pictures import find_pictures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["DataError", "Example", "read_data", "read_folder", "read_shards", "read_table"]

LANGUAGES = ("en", "ko")


class DataError(AnmokError):
    """Evaluation data cannot be used."""


@dataclass(frozen=True)
class Example:
    """One picture and what is known of it.

    `name`: for messages; `source`: the data set it belongs to; `picture`: a path, or the bytes of its file.
    `labels`: class names, narrow to wide; `captions`: by language, the most literal first.
    """

    name: str
    source: str
    picture: Path | bytes
    labels: tuple[str, ...] = ()
    captions: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def caption(self, language: str) -> tuple[str, ...]:
        """Captions in that language; empty where there is none."""
        return dict(self.captions).get(language, ())


def read_data(path: str | Path) -> Iterator[Example]:
    """Read what `path` holds: a tar shard or a folder of them, a CSV, or a folder with a folder per class.

    One picture is in memory at a time.

    Raises:
        DataError: there is nothing of these, or it cannot be read; says what was expected.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    if path.is_dir():
        shards = sorted(path.glob("*.tar"))
        return read_shards(shards) if shards else read_folder(path)
    if path.suffix.lower() == ".tar":
        return read_shards([path])
    if path.suffix.lower() in {".csv", ".tsv"}:
        return read_table(path)
    raise DataError(f"{path}: expected .tar shards, a .csv or .tsv, or a folder with a folder per class")


def read_shards(paths: Iterable[Path]) -> Iterator[Example]:
    """Read WebDataset shards: `KEY.webp` (or another picture) with `KEY.json` beside it.

    Stricter than `open_pairs`, which skips and lists: a number over part of the data would not be the data's.

    The JSON has `source`, `labels`, `captions_en`, `captions_ko` (or `captions`, an object of both languages); all but
    one of labels and captions may be missing.

    Raises:
        DataError: a shard is damaged, or a picture has no JSON; names shard and member.
    """
    for path in paths:
        problems = Problems()
        try:
            shard = index_shard(path.name, path, Options(), problems)
        except SourceError as error:
            raise DataError(f"{path}: the shard cannot be read: {str(error).removeprefix(f'{path}: ')}") from error
        for problem in problems.found():
            if problem.kind in ("no text", "no picture"):
                raise _alone(path, problem.where.removeprefix(f"{path.name}:"))
            if problem.kind != "no pairs":  # an empty shard has nothing that could be wrong
                raise DataError(f"{path}: the shard cannot be read: {problem.reason}")
        for index in range(len(shard)):
            try:
                parts = shard.parts(index)
            except PairError as error:
                raise DataError(f"{path}: the shard cannot be read: {error.reason}") from error
            if parts.record is None:
                raise _alone(path, parts.name.removeprefix(f"{path.name}:"))
            yield _example(parts.name, parts.picture, _facts(parts.record, parts.name), default_source=path.stem)


def read_folder(folder: Path) -> Iterator[Example]:
    """Read a folder with a folder of pictures per class; the class is the folder's name, `_` read as a space.

    Raises:
        DataError: there are fewer than two such folders.
    """
    classes = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    found = [(child, list(find_pictures(child))) for child in classes]
    found = [(child, pictures) for child, pictures in found if pictures]
    if len(found) < 2:
        raise DataError(
            f"{folder}: expected .tar shards, or a folder of pictures for each of two or more classes; "
            f"found {len(found)} folders with pictures"
        )
    for child, pictures in found:
        label = child.name.replace("_", " ")
        for picture in pictures:
            yield Example(str(picture.relative_to(folder)), folder.name, picture, (label,), (("en", (label,)),))


def read_table(path: Path) -> Iterator[Example]:
    """Read a CSV or TSV with a column `filepath` (relative to the table) and one of `label` and `title`.

    `label` makes it classification, `title` retrieval; `label_ko` and `title_ko` add Korean.

    Raises:
        DataError: a column is missing or unknown, or a row is short; names the line.
    """
    text = _table_text(path)
    delimiter = "\t" if "\t" in text.split("\n", 1)[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    known = ("filepath", "label", "label_ko", "title", "title_ko")
    columns = list(reader.fieldnames or [])
    for column in columns:
        if column not in known:
            raise DataError(
                f"{path}: {column!r} is not a column.{did_you_mean(column, known)} Known: {', '.join(known)}"
            )
    if "filepath" not in columns or ("label" in columns) == ("title" in columns):
        raise DataError(f"{path}: expected the columns filepath,label or filepath,title, found {', '.join(columns)}")
    text_column = "label" if "label" in columns else "title"
    for row in reader:
        picture, english, korean = (row.get(name) or "" for name in ("filepath", text_column, f"{text_column}_ko"))
        if not picture or not english or None in row:
            raise DataError(f"{path}: line {reader.line_num}: expected {len(columns)} fields: {', '.join(columns)}")
        captions = [("en", (english,))] + ([("ko", (korean,))] if korean else [])
        labels = (english,) if text_column == "label" else ()
        yield Example(picture, path.stem, path.parent / picture, labels, tuple(captions))


def _table_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: the table is not UTF-8: save it as 'CSV UTF-8'") from None
    except OSError as error:
        raise DataError(f"{path}: the table cannot be read: {error.strerror or error}") from error


def _alone(path: Path, name: str) -> DataError:
    return DataError(f"{path}: {name} has a picture without .json, or a .json without picture")


def _facts(data: bytes, name: str) -> dict[str, Any]:
    try:
        facts = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{name}: not JSON: {error}") from error
    if not isinstance(facts, dict):
        raise DataError(f"{name}: expected a JSON object, found {type(facts).__name__}")
    return facts


def _example(name: str, picture: bytes, facts: dict[str, Any], *, default_source: str) -> Example:
    def strings(field: str, found: dict[str, Any] = facts) -> tuple[str, ...]:
        value = found.get(field) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DataError(f"{name}: {field!r} must be a list of strings, found {value!r}")
        return tuple(value)

    given = facts.get("captions")
    by_language = given if isinstance(given, dict) else {}  # as `write_shards` writes them
    captions = [(one, strings(f"captions_{one}") or strings(one, by_language)) for one in LANGUAGES]
    labels = strings("labels")
    if not labels and not any(texts for _, texts in captions):
        raise DataError(f"{name}: there are neither labels nor captions")
    return Example(name, str(facts.get("source") or default_source), picture, labels, tuple(captions))
