"""Pictures of collections: what clients call them ↔ keys, and the files of those that may be shown."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from anmok.collections.batch import file_of
from anmok.serve.names import resolved, sendable, sent
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anmok.collections import Collection
    from anmok.serve.library.collections import Collections
    from anmok.serve.library.roots import Roots

__all__ = ["Pictures"]

HIDDEN = ("root", "mtime_ns")  # of a picture's metadata


class Pictures:
    """The pictures of all collections, by what clients call them."""

    def __init__(self, collections: Collections, roots: Roots, *, most_bytes: int) -> None:
        self._collections, self._roots, self._most = collections, roots, most_bytes

    def id_of(self, key: str, metadata: Mapping[str, Any]) -> str:
        """What clients call a picture: what they called it themselves, or the root's name and the path below it."""
        return sendable(self._id_of(key, metadata))

    def key_of(self, collection: Collection, number: str) -> str | None:
        """The key of a picture that clients call so; None: there is none."""
        number = number if number in collection else sent(number)
        if number in collection and not Path(number).is_absolute():
            return number
        if (key := self._roots.path(number)) is not None and key in collection:
            return key
        name, _, rest = number.partition("/")
        for key, item in zip(keys := collection.keys({"path": rest}), collection.get(keys), strict=True):
            if item is not None and Path(str(item.metadata.get("root"))).name == name:
                return key
        return None

    def shown(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a picture's metadata that clients may see."""
        return sendable({name: value for name, value in metadata.items() if name not in HIDDEN})

    async def content(self, collection: str, number: str) -> bytes:
        """The bytes of a picture of a collection.

        Raises:
            ApiError: there is none, or its file may not be shown (404), or is too large (413).
        """
        opened, size = await self.open(collection, number)
        with opened:
            return await asyncio.to_thread(opened.read, size)

    async def open(self, collection: str, number: str) -> tuple[BinaryIO, int]:
        """The open file of a picture, which the caller closes, and its bytes. As `content`."""
        file = await self.file(collection, number)
        return await asyncio.to_thread(self._open, file, f"the file of {number!r}")

    async def file(self, collection: str, number: str) -> Path:
        """The file of a picture of a collection, links followed. As `content`."""
        async with self._collections.use(collection) as (opened, _):
            found = await asyncio.to_thread(self._file, opened.thing, number)
        if found is None:
            raise ApiError(404, f"the collection {collection!r} has no picture {number!r}, or its file is gone")
        return found

    def _id_of(self, key: str, metadata: Mapping[str, Any]) -> str:
        if not key.startswith("/") and not Path(key).is_absolute():
            return key
        if (named := self._roots.named(key)) is not None:
            return named
        if (folder := metadata.get("root")) is None:  # of a picture that could not be taken in
            return Path(key).name
        return f"{Path(str(folder)).name}/{metadata.get('path')}".rstrip("/")

    def _open(self, file: Path, named: str) -> tuple[BinaryIO, int]:
        try:
            opened = file.open("rb")
        except OSError as error:
            raise ApiError(404, f"{named} cannot be read") from error
        if (size := os.fstat(opened.fileno()).st_size) > self._most:
            opened.close()
            raise ApiError(413, f"{named} has more than {self._most:,} bytes")
        return opened, size

    def _file(self, collection: Collection, number: str) -> Path | None:
        key = self.key_of(collection, number)
        item = None if key is None else collection.get([key])[0]
        file = None if item is None else file_of(item.metadata)
        if file is None or item is None:
            return None
        allowed = (self._collections.uploads, *self._roots.folders)
        found = next((found for folder in allowed if (found := resolved(Path(file), folder)) is not None), None)
        return found if found is not None and found.is_file() else None
