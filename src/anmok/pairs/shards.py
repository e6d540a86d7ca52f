"""WebDataset shards: tar archives whose files of one key belong together, `KEY.jpg` with `KEY.txt` and `KEY.json`.

A key is everything up to the first dot of the file name, folders included.
Source: github.com/webdataset/webdataset, `base_plus_ext` and `group_by_keys` of `webdataset/tariterators.py`.
"""

from __future__ import annotations

import json
import re
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anmok import progress
from anmok.pairs.compact import Texts
from anmok.pairs.encoding import not_text
from anmok.pairs.fields import read_fields
from anmok.pairs.files import MOST_BYTES, archive_kind, read_at
from anmok.pairs.pair import Pair, PairError, SourceError
from anmok.pairs.problems import Opened, digest
from anmok.pairs.tar import TarStopped, read_members
from anmok.pictures import SUFFIXES, picture_name
from anmok.pictures.read import system_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from anmok.pairs.options import Options
    from anmok.pairs.problems import Problems
    from anmok.pairs.tar import Member

__all__ = ["Parts", "TarShard", "index_shard", "open_shards"]

PICTURE, TEXT, RECORD = 0, 1, 2  # what a member is to its pair, and its place in the index
ALONE = {
    True: ("no text", "there is a picture, but no .txt and no .json of the same key"),
    False: ("no picture", "there is a text, but no picture of the same key"),
}
_KEY = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)", re.DOTALL)


class Parts(NamedTuple):
    """A pair as it lies in its shard: the bytes of the picture, of `KEY.txt` and of `KEY.json` (None: not there)."""

    name: str
    picture: bytes
    text: bytes | None
    record: bytes | None


@dataclass(frozen=True, eq=False)
class TarShard:
    """The pairs of one tar archive; holds where they are, not what they are (some 60 bytes a pair)."""

    name: str
    path: Path
    size: int  # bytes of the file
    names: Texts  # of the picture members
    places: NDArray[np.int64]  # offset and size of picture, text and record, -1 where there is none, [n, 3, 2]
    options: Options

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: it has no text, its text or JSON cannot be read, or the archive is gone or changed.
        """
        parts = self.parts(index)
        text = _text(parts, self.options.encoding) if parts.text is not None else ""
        record = _record(parts) if parts.record is not None else {}
        fields = read_fields(record, beside=text, text_key=self.options.named_text, templates=self.options.templates)
        if not fields.texts:
            found = f"; its .json has {', '.join(record)}" if record else ""
            raise PairError(parts.name, "no text", f"neither its .txt nor its .json holds a text{found}")
        source = Path(self.name).stem if fields.source is None else fields.source
        return Pair(
            parts.name, parts.picture, fields.texts, fields.labels, source, captions=fields.captions, facts=fields.facts
        )

    def parts(self, index: int) -> Parts:
        """The bytes of one pair.

        Raises:
            PairError: the archive is gone or changed.
        """
        name = f"{self.name}:{picture_name(self.names[index])}"
        there = [(int(offset), int(size)) for offset, size in self.places[index] if offset >= 0]
        found = iter(read_at(self.path, there, size=self.size, pair=name))
        picture, text, record = (next(found) if offset >= 0 else None for offset, _ in self.places[index])
        return Parts(name, picture or b"", text, record)


def open_shards(files: Iterable[tuple[str, Path]], options: Options, problems: Problems) -> Iterator[Opened]:
    """Index shards, each given as name and path. One that is no archive is a problem, and the rest are opened."""
    files = list(files)
    with progress.task("indexing shards", len(files)) as advance:
        for name, path in files:
            try:
                shard = index_shard(name, path, options, problems)
            except SourceError as error:
                problems.add(name, "not a shard", str(error).removeprefix(f"{path}: "))
            else:
                yield Opened([shard], digest(name, shard.names.data, shard.names.ends, shard.places))
            advance(1)


def index_shard(name: str, path: Path, options: Options, problems: Problems) -> TarShard:
    """Find the pairs of one shard; what has no partner, or is not there as a whole, becomes a problem.

    Raises:
        SourceError: it is no tar archive that can be read in any order.
    """
    index = _Index(name, problems)
    stopped: TarStopped | None = None
    try:
        with path.open("rb", buffering=0) as file:
            _check_start(path, file.read(8))
            size = file.seek(0, 2)
            try:
                for member in read_members(file):
                    index.add(member)
            except TarStopped as error:
                stopped = error
    except (OSError, ValueError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else str(error)
        raise SourceError(f"{path}: cannot be read: {reason}") from error
    if stopped is not None and not index.members and stopped.kind != "joined":
        raise SourceError(f"{path}: not a tar archive, or one without a whole file in it: {stopped.reason}")
    if stopped is not None:
        index.stop(stopped)
    names, places = index.paired()
    return TarShard(name, path, size, names, places, options)


class _Index:
    """Gathers the members of one archive by key."""

    def __init__(self, name: str, problems: Problems) -> None:
        self.name = name
        self.problems = problems
        self.members = 0
        self.first = ""
        self._rows: dict[str, int] = {}
        self._names: list[str] = []
        self._places = array("q")  # six numbers a key: offset and size of picture, text and record
        self._repeated: set[str] = set()

    def add(self, member: Member) -> None:
        """Take a member in, where it is a picture, a text or a record that is not there yet."""
        self.members += 1
        self.first = self.first or member.name
        found = _KEY.fullmatch(member.name)
        role = _role(found[2].lower()) if found else None
        if found is None or role is None:
            return
        key = found[1]
        if member.size > MOST_BYTES:
            reason = f"{member.size:,} bytes, more than the {MOST_BYTES:,} that a picture can have"
            self.problems.add(f"{self.name}:{picture_name(member.name)}", "too large", reason)
            return
        row = self._rows.setdefault(key, len(self._rows))
        if row == len(self._names):
            self._names.append("")
            self._places.extend((-1, 0) * 3)
        place = row * 6 + role * 2
        if self._places[place] >= 0:
            self._repeat(key, member.name)
            return
        self._places[place], self._places[place + 1] = member.offset, member.size
        if role == PICTURE:
            self._names[row] = member.name

    def _repeat(self, key: str, name: str) -> None:
        if key not in self._repeated:
            reason = f"its key was there before, and the first is used (a key ends at the first dot: {key!r})"
            self.problems.add(f"{self.name}:{picture_name(name)}", "duplicate key", reason)
        self._repeated.add(key)

    def stop(self, stopped: TarStopped) -> None:
        """The archive ends early: the pair in which it does is given up."""
        found = _KEY.fullmatch(stopped.name)
        lost = "; the pairs before are used, whatever came after is lost"
        if stopped.kind == "joined":
            lost = ""
        elif found is not None:
            row = self._rows.pop(found[1], None)
            if row is not None:
                self._places[row * 6 : row * 6 + 6] = array("q", (-1, 0) * 3)
            lost = f"; the pairs before are used, that of {found[1]!r} is lost with whatever came after"
        self.problems.add(self.name, stopped.kind, stopped.reason + lost)

    def paired(self) -> tuple[Texts, NDArray[np.int64]]:
        """Names of the pictures that have a text, and the places of both."""
        places = np.array(self._places, np.int64).reshape(-1, 3, 2)
        there = places[:, :, 0] >= 0
        whole = there[:, PICTURE] & (there[:, TEXT] | there[:, RECORD])
        for key, row in self._rows.items():
            if not whole[row]:
                kind, reason = ALONE[bool(there[row, PICTURE])]
                self.problems.add(f"{self.name}:{picture_name(key)}", kind, reason)
        if not whole.any():
            example = f", such as {self.first!r}," if self.first else ""
            reason = f"none of its {self.members} files{example} is a picture with a .txt or .json of the same key"
            self.problems.add(self.name, "no pairs", reason)
        return Texts.pack(self._names[row] for row in np.flatnonzero(whole)), places[whole]


def _role(extension: str) -> int | None:
    if f".{extension}" in SUFFIXES:
        return PICTURE
    return {"txt": TEXT, "json": RECORD}.get(extension)


def _check_start(path: Path, head: bytes) -> None:
    if not head:
        raise SourceError(f"{path}: is empty (0 bytes): write or copy it again")
    packed = archive_kind(head)
    if packed is not None:
        name, command = packed
        raise SourceError(
            f"{path}: is packed with {name}, and pairs of a packed archive cannot be read in any order: "
            f"unpack it first ({command} {path.name}); pictures hardly get smaller by packing"
        )


def _text(parts: Parts, encoding: str) -> str:
    data = parts.text or b""
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise PairError(parts.name, "encoding", f"its .txt is {not_text(data, error)}") from None


def _record(parts: Parts) -> dict[str, Any]:
    try:
        record = json.loads(parts.record or b"")
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise PairError(parts.name, "not JSON", f"its .json cannot be read: {error}") from error
    if not isinstance(record, dict):
        raise PairError(parts.name, "not JSON", f"expected an object in its .json, found {type(record).__name__}")
    return record
