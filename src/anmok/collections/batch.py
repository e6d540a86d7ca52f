"""A batch of pictures on its way into the store: encoded together, committed in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok import progress
from anmok.collections.contract import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from anmok.collections.folder import FileState
    from anmok.encoder import Encoder, Picture
    from anmok.store import Store

__all__ = ["FAILED", "OWN_FIELDS", "Batch", "Entry", "Failure", "IndexReport", "describe", "file_of", "user_metadata"]

FAILED = "failed"  # the documents of the store that list what could not be indexed
BATCH_FILES = 256
BATCH_BYTES = 64 << 20
OWN_FIELDS = ("path", "root", "folder", "name", "width", "height", "bytes", "mtime", "mtime_ns", "hash")
STATE_FIELDS = ("bytes", "mtime_ns", "hash")


@dataclass(frozen=True)
class Failure:
    """A picture that is not in the collection, and why."""

    picture: str
    error: str


@dataclass(frozen=True)
class IndexReport:
    """What a run did, in pictures.

    `added`, `unchanged`, `moved`, `changed`: they are in the collection now.
    `removed`: they were in the collection, and their files are gone.
    `failed`: they could not be taken in, and why; those included that failed before and were not tried
        again because the file is still the same.
    """

    added: int = 0
    unchanged: int = 0
    moved: int = 0
    changed: int = 0
    removed: int = 0
    failed: tuple[Failure, ...] = ()


@dataclass
class Entry:
    """One picture of a batch. `kind` is a field of IndexReport; `vector` is None until it is encoded."""

    key: str
    kind: str
    metadata: dict[str, Any]
    vector: NDArray[np.float32] | None = None
    moved_from: str | None = None


@dataclass
class Batch:
    """Pictures that are committed together.

    `fresh`: content hash → what to encode, each content once.
    `failed`: key → a record of why, and of the file's state, so that it is tried again only when that changes.
    """

    entries: list[Entry] = field(default_factory=list)
    fresh: dict[str, Picture] = field(default_factory=dict)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    fresh_bytes: int = 0

    def __len__(self) -> int:
        """Pictures taken in, those that failed included."""
        return len(self.entries) + len(self.failed)

    @property
    def full(self) -> bool:
        """Whether it is time to commit."""
        return len(self) >= BATCH_FILES or self.fresh_bytes >= BATCH_BYTES

    def add_fresh(self, entry: Entry, content: Picture) -> None:
        """Take in an entry that has to be encoded; of equal contents one is."""
        self.entries.append(entry)
        if self.fresh.setdefault(entry.metadata["hash"], content) is content:
            self.fresh_bytes += entry.metadata["bytes"] or 0

    def fail(self, key: str, error: str, *, state: FileState | None = None, content: str | None = None) -> None:
        """Note a failure. Without a state nothing is known of the content, and the next run tries it again."""
        bytes_, mtime_ns = (state.bytes, state.mtime_ns) if state else (None, None)
        self.failed[key] = {"error": error, "bytes": bytes_, "mtime_ns": mtime_ns, "hash": content}

    def encode(self, encoder: Encoder, advance: Callable[[int], None] = lambda _: None) -> None:
        """Fill vectors and sizes of what is fresh; the pictures that cannot be used become failures.

        `advance` is that of the whole run, which has one line of progress. It is given signs of life, and may end this.
        """
        if not self.fresh:
            return
        from anmok.pictures import picture_size

        hashes = list(self.fresh)
        with progress.listen(lambda _: advance(0)):
            embeddings = encoder.encode_image(list(self.fresh.values()), on_error="skip")
        rows = {hashes[index]: row for index, row in zip(embeddings.indices, embeddings.vectors, strict=True)}
        sizes = {content: picture_size(self.fresh[content]) for content in rows}
        errors = {hashes[failure.index]: failure.error for failure in embeddings.failed}
        for entry in self.entries:
            content = entry.metadata["hash"]
            if entry.vector is not None:
                continue
            if content in rows:
                entry.vector = rows[content]
                entry.metadata["width"], entry.metadata["height"] = sizes[content]
            else:
                state = {name: entry.metadata[name] for name in STATE_FIELDS}
                self.failed[entry.key] = {"error": errors[content], **state}

    def write(self, store: Store) -> list[Entry]:
        """Write everything in one transaction. Returns the entries that are stored."""
        stored = [entry for entry in self.entries if entry.vector is not None]
        broken = [entry for entry in self.entries if entry.vector is None]
        if not self.entries and not self.failed:
            return []
        with writing(store):
            if stored:
                vectors = np.stack([entry.vector for entry in stored if entry.vector is not None])
                store.upsert([entry.key for entry in stored], vectors, [entry.metadata for entry in stored])
            outdated = [entry.key for entry in broken if entry.kind == "changed"]
            store.delete([*outdated, *(entry.moved_from for entry in stored if entry.moved_from is not None)])
            failures = store.documents(FAILED)
            failures.delete([entry.key for entry in stored])
            failures.update(self.failed)
        return stored


def describe(
    file: str | None,
    root: str | None,
    state: FileState | None,
    content: str,
    given: Mapping[str, Any] | None = None,
    *,
    key: str | None = None,
) -> dict[str, Any]:
    """The metadata of a row.

    Args:
        file: absolute posix path, or None for a picture that came from memory under a `key`.
        root: the folder that it was indexed with.
        state: of the file.
        content: hash of the content.
        given: the caller's own metadata.
        key: of a picture from memory.
    """
    path = PurePosixPath(file) if file is not None else None
    return {
        "path": path.relative_to(root).as_posix() if path and root else key,
        "root": root,
        "folder": path.parent.name if path else None,
        "name": path.name if path else key,
        "width": None,
        "height": None,
        "bytes": state.bytes if state else None,
        "mtime": state.mtime_ns / 1e9 if state else None,
        "mtime_ns": state.mtime_ns if state else None,
        "hash": content,
        **(given or {}),
    }


def file_of(metadata: Mapping[str, Any]) -> str | None:
    """The picture file of a row as an absolute posix path; None for a picture that came from memory."""
    root, path = metadata.get("root"), metadata.get("path")
    return None if root is None or path is None else f"{root.rstrip('/')}/{path}"


def user_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a row's metadata that the caller gave."""
    return {name: value for name, value in metadata.items() if name not in OWN_FIELDS}
