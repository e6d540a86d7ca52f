"""Taking in single pictures, from files or from memory, under paths or keys of the caller's choice."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok import progress
from anmok.collections.batch import (
    OWN_FIELDS,
    Batch,
    Entry,
    Failure,
    IndexReport,
    describe,
    user_metadata,
)
from anmok.collections.folder import FileGone, content_hash, read_content
from anmok.errors import PictureError, StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder, Picture
    from anmok.store import Item, Store

    Size = tuple[int | None, int | None]  # width, height

__all__ = ["Encoded", "put_pictures"]

GivenMetadata = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


@dataclass(frozen=True)
class Encoded:
    """What is known of pictures already, so that they need not be decoded: row i of picture i.

    `embeddings`: [n, d]. `sizes`: width and height of each, pixels, or None.
    """

    embeddings: Embeddings
    sizes: Sequence[Size]


def put_pictures(
    store: Store,
    encoder: Encoder,
    pictures: Sequence[Picture],
    keys: Sequence[str] | None,
    metadata: GivenMetadata,
    *,
    replace: bool,
    encoded: Encoded | None = None,
) -> IndexReport:
    """Encode pictures and write them as rows. See `Collection.add` and `Collection.upsert`."""
    if encoded is not None:
        encoded.embeddings.require(store.contract["fingerprint"])
        if not len(encoded.embeddings) == len(encoded.sizes) == len(pictures):
            raise StoreError(f"{len(pictures)} pictures were given with {len(encoded.embeddings)} embeddings")
    names = _keys(pictures, keys)
    given = _metadata(metadata, len(names))
    if not replace and (taken := [item.key for item in store.get(names) if item is not None]):
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise StoreError(f"{taken[0]!r}{more} is in the collection already: use upsert to replace it")
    counts = {"added": 0, "changed": 0, "unchanged": 0}
    failed: list[Failure] = []
    batch = Batch()

    def commit() -> None:
        batch.encode(encoder)
        for entry in batch.write(store):
            counts[entry.kind] += 1
        failed.extend(Failure(key, row["error"]) for key, row in batch.failed.items())

    with progress.task("adding pictures", len(names)) as advance:
        for row, (picture, key, own) in enumerate(zip(pictures, names, given, strict=True)):
            known = None if encoded is None else (encoded.embeddings.vectors[row], encoded.sizes[row])
            _take_in(batch, store.get([key])[0], picture, key, own, known=known)
            if batch.full:
                commit()
                batch = Batch()
            advance(1)
        commit()
    return IndexReport(**counts, failed=tuple(failed))


def _take_in(
    batch: Batch,
    before: Item | None,
    picture: Picture,
    key: str,
    given: Mapping[str, Any] | None,
    *,
    known: tuple[NDArray[np.float32], Size] | None,
) -> None:
    """Put one picture into the batch. Without metadata of the caller's, that of the row before stays.

    `known`: its vector and size, where it was encoded already.
    """
    if given is None:
        given = user_metadata(before.metadata) if before else {}
    content: Picture = picture
    if isinstance(picture, str | os.PathLike):
        file = _absolute(picture)
        try:
            read = read_content(file)
        except FileGone:
            batch.fail(key, "there is no such file")
            return
        except PictureError as error:
            batch.fail(key, error.reason)
            return
        content = read.data
        row = describe(file, Path(file).parent.as_posix(), read.state, read.hash, given)
    else:
        row = describe(None, None, None, _memory_hash(picture), given, key=key)
    same = before is not None and before.metadata["hash"] == row["hash"]
    entry = Entry(key, "unchanged" if same else "changed" if before else "added", row)
    if known is not None:
        entry.vector, (row["width"], row["height"]) = known
        batch.entries.append(entry)
    elif before is not None and same:
        entry.vector = before.vector
        row |= {name: before.metadata[name] for name in ("width", "height")}
        batch.entries.append(entry)
    else:
        batch.add_fresh(entry, content)


def _absolute(path: str | os.PathLike[str]) -> str:
    """Absolute, with the links of its folder resolved, so that a file has one name; a link to a file keeps its own."""
    given = Path(path)
    return (given.parent.resolve() / given.name).as_posix()


def _keys(pictures: Sequence[Picture], keys: Sequence[str] | None) -> list[str]:
    if isinstance(pictures, str | bytes | os.PathLike) or not hasattr(pictures, "__len__"):
        raise StoreError("give a list of pictures; for one picture, a list of one")
    if keys is None:
        nameless = [index for index, item in enumerate(pictures) if not isinstance(item, str | os.PathLike)]
        if nameless:
            raise StoreError(f"picture {nameless[0]} is not a file and needs a key: add(pictures, keys=[...])")
        return [_absolute(picture) for picture in pictures if isinstance(picture, str | os.PathLike)]
    listed = list(keys)
    if isinstance(keys, str) or len(listed) != len(pictures):
        raise StoreError(f"{len(pictures)} pictures were given with {len(listed)} keys, expected one key for each")
    if len(set(listed)) != len(listed):
        raise StoreError(f"the key {next(key for key in listed if listed.count(key) > 1)!r} is given twice")
    return listed


def _metadata(metadata: GivenMetadata, pictures: int) -> list[Mapping[str, Any] | None]:
    """The caller's metadata, one for each picture (a single mapping is for all of them)."""
    if metadata is None:
        return [None] * pictures
    listed = [metadata] * pictures if isinstance(metadata, Mapping) else list(metadata)
    if len(listed) != pictures:
        raise StoreError(f"{pictures} pictures were given with {len(listed)} metadata, expected one for each")
    for row in listed:
        if not isinstance(row, Mapping):
            raise StoreError(f"metadata is a mapping like {{'price': 12}}, not {type(row).__name__}")
        if reserved := [name for name in row if name in OWN_FIELDS]:
            raise StoreError(f"the field {reserved[0]!r} is kept by the collection itself: use another name")
    return list(listed)


def _memory_hash(picture: Picture) -> str:
    """Hash of a picture in memory: of a file's bytes as a file's, of pixels with their shape."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return content_hash(bytes(picture))
    shape = getattr(picture, "shape", None) or (*getattr(picture, "size", ()), getattr(picture, "mode", ""))
    data = picture.tobytes() if hasattr(picture, "tobytes") else repr(picture).encode()
    return blake2b(repr(shape).encode() + data, digest_size=16).hexdigest()
