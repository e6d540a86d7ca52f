"""A cache in front of an encoder: what was encoded once, in any process, is read from disk.

A picture is known by its content (the bytes of its file, or its pixels), so one that was moved or renamed is found and
not even decoded. Of a folder of the cache, per encoder,

    FINGERPRINT-PRECISION.embeddings    what `encode_image` gives, float32
    FINGERPRINT.features                what `features` gives: embeddings in float32, places in float16

All of it can be deleted at any time. Processes may share it; one that is killed leaves whole rows. A cache that cannot
be written is no error: everything is then encoded.
"""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anmok import progress
from anmok.embeddings import Embeddings, Failure, unit
from anmok.encoder import as_list
from anmok.errors import PictureError
from anmok.features import Features
from anmok.files import locked
from anmok.models.dense import dense_shapes
from anmok.pictures import picture_name, read
from anmok.row_file import KEY_BYTES, RowFile, capacity_of
from anmok.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.encoder import Encoder, Picture

__all__ = ["FeatureCache"]

CHUNK = 256  # pictures that are encoded between two writes
DENSE_CHUNK = 64
POOLED_SHARE = 8  # of the limit, one part of so many is for embeddings alone
PATIENCE = 1.0  # seconds to wait for another process that is writing; else what was encoded is not kept
LARGEST = float(np.finfo(np.float16).max)


class FeatureCache:
    """An encoder that remembers. Safe to share between threads.

    Args:
        encoder: whose answers.
        folder: where they are kept; by default `ANMOK_HOME/features`.
        limit_mb: what the folder may take on disk, of all encoders together. Beyond it the oldest rows are overwritten.
            A folder that had another limit is begun anew.
    """

    def __init__(self, encoder: Encoder, folder: str | Path | None = None, limit_mb: int = 1024) -> None:
        self.encoder = encoder
        self.folder = Path(folder) if folder is not None else settings().home / "features"
        self.limit = limit_mb << 20
        self._pooled_type = np.dtype([("embedding", "<f4", (encoder.dimension,))])
        name, share = f"{encoder.fingerprint}-{encoder.precision}.embeddings", self.limit // POOLED_SHARE
        self._pooled = self._rows(name, self._pooled_type, share)
        self._dense_type: np.dtype[Any] | None = None
        if encoder.checkpoint.transform.resize != "naflex":
            patches, local = dense_shapes(encoder.checkpoint.spec)
            places = [("patches", "<f2", patches), ("local", "<f2", local)]
            self._dense_type = np.dtype([("embedding", "<f4", (encoder.dimension,)), *places])
            self._dense = self._rows(f"{encoder.fingerprint}.features", self._dense_type, self.limit - share)

    @property
    def checkpoint(self) -> Checkpoint:
        """The encoder's."""
        return self.encoder.checkpoint

    def embed(
        self, pictures: Picture | Sequence[Picture], *, on_error: Literal["raise", "skip"] = "raise"
    ) -> Embeddings:
        """What `encoder.encode_image` gives, to the bit. Arguments and errors as there."""

        def encode(items: list[Any]) -> tuple[Embeddings, NDArray[Any]]:
            embeddings = self.encoder.encode_image(items, on_error=on_error)
            records = np.empty(len(embeddings), self._pooled_type)
            records["embedding"] = embeddings.vectors
            return embeddings, records

        answers = self._answers(as_list(pictures), self._pooled, encode, CHUNK)
        return answers.embeddings(self._pooled_type, self.encoder.fingerprint)

    def features(
        self, pictures: Picture | Sequence[Picture], *, on_error: Literal["raise", "skip"] = "raise"
    ) -> Features:
        """What `encoder.features` gives, with the places rounded to float16 (the first time, too).

        Of a NaFlex encoder, whose pictures have rows and columns of their own, nothing is kept, and nothing is rounded.
        """
        kind = self._dense_type
        if kind is None:
            return self.encoder.features(pictures, on_error=on_error)

        def encode(items: list[Any]) -> tuple[Embeddings, NDArray[Any]]:
            features = self.encoder.features(items, on_error=on_error)
            records = np.empty(len(features), kind)
            records["embedding"] = features.embeddings.vectors
            records["patches"] = features.patches
            records["local"] = np.clip(features.local, -LARGEST, LARGEST)
            return features.embeddings, records

        answers = self._answers(as_list(pictures), self._dense, encode, DENSE_CHUNK)
        records = answers.records(kind)
        embeddings = answers.embeddings(kind, self.encoder.fingerprint)
        return Features(embeddings, unit(records["patches"]), records["local"].astype(np.float32))

    def _rows(self, name: str, kind: np.dtype[Any], size: int) -> RowFile:
        return RowFile(self.folder / name, kind.itemsize, capacity_of(size, kind.itemsize))

    def _answers(
        self,
        items: list[Any],
        rows: RowFile,
        encode: Callable[[list[Any]], tuple[Embeddings, NDArray[Any]]],
        chunk: int,
    ) -> _Answers:
        """Every picture's row from the cache, or encoded and kept."""
        answers = _Answers(items)
        with progress.task("encoding pictures", len(items)) as advance:
            rows.refresh()
            for start in range(0, len(items), chunk):
                part = range(start, min(start + chunk, len(items)))
                for i, content in zip(part, self._contents(items[start : part.stop]), strict=True):
                    answers.contents[i] = content
                    if content is not None and content.key not in answers.rows:
                        row = rows.get(content.key)
                        if row is not None:
                            answers.rows[content.key] = row
                missing = answers.missing(part)
                if missing:
                    with progress.quiet():
                        embeddings, records = encode([items[i] for i in missing])
                    fresh = [record.tobytes() for record in records]
                    for place, row in zip(embeddings.indices.tolist(), fresh, strict=True):
                        answers.take(missing[place], row)
                    for failure in embeddings.failed:
                        answers.fail(missing[failure.index], failure.error)
                    self._keep(rows, answers.lasting([missing[place] for place in embeddings.indices.tolist()]))
                advance(len(part))
        return answers

    def _contents(self, items: list[Any]) -> list[_Content | None]:
        with ThreadPoolExecutor(settings().threads or None, "anmok-hash") as pool:
            return list(pool.map(_content, items))

    def _keep(self, rows: RowFile, fresh: list[tuple[bytes, bytes]]) -> None:
        """Write rows, where that can be done."""
        if not fresh or rows.capacity < 1:
            return
        try:
            with locked(self.folder / "lock", seconds=PATIENCE) as held:
                if held:
                    self._make_room(rows, len(fresh))
                    rows.put(fresh)
        except OSError:
            pass  # it is a cache

    def _make_room(self, rows: RowFile, count: int) -> None:
        """Before so many more rows: delete files of other encoders, the longest unchanged first, as far as needed."""
        mine = {self._pooled.path} | ({self._dense.path} if self._dense_type is not None else set())
        found = {path: path.stat() for path in self.folder.glob("*.*") if path.is_file()}
        size = {path: state.st_size for path, state in found.items()}
        size[rows.path] = rows.size_with(count, size.get(rows.path, 0))
        for path in sorted(found.keys() - mine, key=lambda path: found[path].st_mtime):
            if sum(size.values()) <= self.limit:
                return
            path.unlink()
            del size[path]


@dataclass(frozen=True)
class _Content:
    """What a picture holds: a digest, and, of a file, its path and what it was like when it was read."""

    key: bytes
    path: Path | None = None
    state: tuple[int, int] | None = None  # size and time of change

    def lasts(self) -> bool:
        """Whether the file was not changed since: else the digest may be of one content and the row of another."""
        if self.path is None:
            return True
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == self.state


class _Answers:
    """What is known of each input: its content, the row of that, or why there is none."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.contents: list[_Content | None] = [None] * len(items)
        self.rows: dict[bytes | int, bytes] = {}  # by content, or by input where that could not be read
        self.reasons: dict[bytes | int, str] = {}

    def missing(self, part: Sequence[int]) -> list[int]:
        """The inputs of a part that must be encoded; of equal ones the first."""
        first: dict[bytes | int, int] = {}
        for i in part:
            if (name := self._name(i)) not in self.rows and name not in self.reasons:
                first.setdefault(name, i)
        return list(first.values())

    def take(self, index: int, row: bytes) -> None:
        self.rows[self._name(index)] = row

    def fail(self, index: int, reason: str) -> None:
        self.reasons[self._name(index)] = reason

    def lasting(self, indices: list[int]) -> list[tuple[bytes, bytes]]:
        """(key, row) of inputs whose content is known and still the same."""
        contents = [self.contents[i] for i in indices]
        return [(c.key, self.rows[c.key]) for c in contents if c is not None and c.lasts()]

    def records(self, kind: np.dtype[Any]) -> NDArray[Any]:
        """The rows of all inputs that have one, in order."""
        found = [self.rows[self._name(i)] for i in self._indices()]
        return np.frombuffer(b"".join(found), kind)

    def embeddings(self, kind: np.dtype[Any], fingerprint: str) -> Embeddings:
        """As the encoder gives them."""
        failed = tuple(
            Failure(i, picture_name(item), self.reasons[self._name(i)])
            for i, item in enumerate(self.items)
            if self._name(i) in self.reasons
        )
        vectors = self.records(kind)["embedding"].astype(np.float32)
        return Embeddings(vectors, fingerprint, np.array(self._indices(), np.int64), failed)

    def _indices(self) -> list[int]:
        return [i for i in range(len(self.items)) if self._name(i) in self.rows]

    def _name(self, index: int) -> bytes | int:
        content = self.contents[index]
        return index if content is None else content.key


def _content(picture: Any) -> _Content | None:
    """The content of a picture, or None where it cannot be read: the encoder then says why."""
    try:
        if isinstance(picture, bytes | bytearray | memoryview):
            return _Content(_digest("file", picture))
        if isinstance(picture, np.ndarray):
            return _Content(_digest(f"pixels {picture.dtype} {picture.shape}", np.ascontiguousarray(picture).data))
        if isinstance(picture, str | os.PathLike):
            return _file_content(Path(os.fsdecode(picture)))
        pixels = np.asarray(read(picture))
        return _Content(_digest(f"pixels {pixels.dtype} {pixels.shape}", pixels.data))
    except (OSError, ValueError, TypeError, PictureError):
        return None


def _file_content(path: Path) -> _Content | None:
    before = path.stat()
    if not stat.S_ISREG(before.st_mode):  # opening a pipe would wait for a writer, for ever
        return None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: _started("file"))
    return _Content(digest.digest(), path, (before.st_size, before.st_mtime_ns))


def _started(kind: str) -> Any:
    return hashlib.blake2b(digest_size=KEY_BYTES, key=kind.encode()[:64])


def _digest(kind: str, content: Any) -> bytes:
    digest = _started(kind)
    digest.update(content)
    return bytes(digest.digest())
