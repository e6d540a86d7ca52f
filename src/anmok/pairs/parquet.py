"""Parquet with pictures in it, as Hugging Face datasets store them, or with their file names.

A row is found by its row group, and the last group that was read is kept: reading in order costs each group once.
Reading in a shuffled order decodes a group for every pair; for training, `write_shards` makes shards of it once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.errors import MissingExtra, did_you_mean
from anmok.pairs.fields import LANGUAGES, TEXT_FIELDS, read_fields
from anmok.pairs.files import inside, is_file
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.problems import Opened, digest
from anmok.pictures import picture_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems

__all__ = ["ParquetShard", "open_parquet"]

PICTURE_COLUMNS = ("image", "img", "picture", "file_name")
LABEL_COLUMNS = ("label", "labels")
BROKEN = (OSError, ValueError, KeyError, RuntimeError)  # what pyarrow's errors are, besides ArrowException


@dataclass(frozen=True, eq=False)
class ParquetShard:
    """The rows of one Parquet file."""

    name: str
    path: Path
    size: int  # bytes of the file
    ends: NDArray[np.int64]  # number of rows up to the end of each row group
    columns: tuple[str, ...]  # that are read
    picture: str  # the column of pictures
    classes: dict[str, list[str]]  # names of the classes that label columns number
    options: Options

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: it has no picture or no text, or the file is gone, changed or damaged.
        """
        name = f"{self.name}:{index}"
        record = self._row(index, name)
        picture, file_name = self._picture(record.pop(self.picture), name)
        for column, names in self.classes.items():
            number = record.get(column)
            if isinstance(number, int) and 0 <= number < len(names):
                record[column] = names[number]
        fields = read_fields(record, text_key=self.options.named_text, templates=self.options.templates)
        if not fields.texts:
            raise PairError(name, "no text", f"the row has no text; its columns are {', '.join(self.columns)}")
        facts = {**fields.facts, **({"file_name": file_name} if file_name else {})}
        source = Path(self.name).stem if fields.source is None else fields.source
        return Pair(name, picture, fields.texts, fields.labels, source, captions=fields.captions, facts=facts)

    def _row(self, index: int, name: str) -> dict[str, Any]:
        group = int(np.searchsorted(self.ends, index, side="right"))
        first = int(self.ends[group - 1]) if group else 0
        try:
            if self.path.stat().st_size != self.size:
                raise PairError(name, "changed", f"{self.path.name} was changed since it was opened: open it again")
            rows = _row_group(str(self.path), self.size, group, self.columns)
            row: dict[str, Any] = rows.slice(index - first, 1).to_pylist()[0]
        except BROKEN as error:
            raise PairError(name, "damaged", f"{self.path.name} cannot be read: {error}") from error
        return row

    def _picture(self, value: object, name: str) -> tuple[Path | bytes, str]:
        """The picture, and what its file was called, where the row says so."""
        given = (
            value if isinstance(value, dict) else {"bytes": value if isinstance(value, bytes) else None, "path": value}
        )
        data, path = given.get("bytes"), given.get("path")
        file_name = path if isinstance(path, str) else ""
        if isinstance(data, bytes) and data:
            return data, file_name
        if not file_name:
            raise PairError(name, "no picture", f"{self.picture!r} is empty")
        place = inside(self.path.parent, file_name)
        if place is None:
            raise PairError(name, "outside", f"{picture_name(file_name)} leads out of {self.path.parent}")
        if not is_file(place):
            raise PairError(name, "missing file", f"{place}: there is no such file")
        return place, ""


def open_parquet(name: str, path: Path, options: Options, problems: Problems) -> Opened:
    """Open one Parquet file.

    Raises:
        SourceError: it has no column of pictures or texts, or cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet", "reading .parquet") from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema, meta = file.schema_arrow, file.metadata
            groups = [meta.row_group(number) for number in range(meta.num_row_groups)]
            rows = np.cumsum([group.num_rows for group in groups], dtype=np.int64)
            sizes = [group.total_byte_size for group in groups]
    except BROKEN as error:
        raise SourceError(f"{path}: not a Parquet file that can be read: {error}") from error
    picture = _picture_column(path, schema, options)
    columns = tuple(field.name for field in schema if field.name == picture or not _holds_bytes(field.type))
    classes = _classes(schema)
    _check_texts(path, schema, classes, options)
    shard = ParquetShard(name, path, path.stat().st_size, rows, columns, picture, classes, options)
    if not len(shard):
        problems.add(name, "no pairs", "the file has no rows")
    return Opened([shard], digest(name, shard.size, rows, sizes, columns))


@lru_cache(maxsize=1)
def _row_group(path: str, size: int, group: int, columns: tuple[str, ...]) -> Any:
    """One row group of a file (told by its size from another of that name); the last one stays in memory."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.read_row_group(group, columns=list(columns))


def _picture_column(path: Path, schema: Any, options: Options) -> str:
    """The column that was named, or else the first of the usual ones."""
    for name in (options.image_key, *PICTURE_COLUMNS):
        if name in schema.names:
            return name
    near = did_you_mean(options.image_key, schema.names)
    tried = ", ".join(map(repr, (options.image_key, *PICTURE_COLUMNS)))
    raise SourceError(
        f"{path}: there is no column of pictures (tried {tried}).{near} Columns: {', '.join(schema.names)}. "
        "image_key says which is meant; addresses are not fetched"
    )


def _check_texts(path: Path, schema: Any, classes: dict[str, list[str]], options: Options) -> None:
    languages = [f"{name}_{language}" for name in ("caption", "captions") for language in LANGUAGES]
    known = [*filter(None, [options.named_text]), *TEXT_FIELDS, *languages]
    if any(name in schema.names for name in known) or classes:
        return
    if any(name in schema.names and "string" in str(schema.field(name).type) for name in LABEL_COLUMNS):
        return
    raise SourceError(
        f"{path}: there is no column of texts (tried {', '.join(known)}) nor of labels. "
        f"Columns: {', '.join(schema.names)}. text_key says which is meant"
    )


def _holds_bytes(kind: Any) -> bool:
    """Whether a column holds files (other pictures, audio): they are not read."""
    return "binary" in str(kind)


def _classes(schema: Any) -> dict[str, list[str]]:
    """Names of the classes that label columns number, from what the library datasets writes into the schema."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        found = {
            name: features[name]["names"] for name in LABEL_COLUMNS if name in features and "names" in features[name]
        }
    except (ValueError, KeyError, TypeError):
        return {}
    return {name: names for name, names in found.items() if isinstance(names, list)}
