"""Collections and what was uploaded to them: made, opened, changed and deleted by name."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from anmok import progress
from anmok.collections import Collection
from anmok.serve.library.shelf import Shelf, beside
from anmok.serve.problems import ApiError
from anmok.serve.uploads import take_back

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from anmok.progress import Progress
    from anmok.serve.library.open_things import Opened, OpenThings
    from anmok.serve.models import Model, Models
    from anmok.serve.works import Works

__all__ = ["Collections"]

Answer = TypeVar("Answer")


class Collections:
    """All collections of a service."""

    def __init__(self, home: Path, models: Models, opened: OpenThings, works: Works) -> None:
        self._models, self._open, self._works = models, opened, works
        self._shelf = Shelf(home / "collections", "collection")
        self._uploads = Shelf(home / "uploads", "folder of uploads", suffix="")

    def names(self) -> list[str]:
        """Of all collections, sorted."""
        return self._shelf.names()

    @property
    def uploads(self) -> Path:
        """The folder of all pictures that clients sent."""
        return self._uploads.folder

    def uploads_of(self, name: str) -> Path:
        """The folder of the pictures that clients sent to a collection."""
        return self._uploads.place(name)

    async def create(self, name: str, model: str | None) -> None:
        """Make an empty collection.

        Raises:
            ApiError: there is one of this name (409), or no such model (404).
        """
        path = self._shelf.place(name)

        async def make() -> None:
            async with self._models.use(model) as used:
                new = beside(path, "new")
                await asyncio.to_thread(lambda: Collection(new, encoder=used.encoder).close())
                await self._open.put_in_place(new, path, f"there is a collection {name!r} already")

        await self._works.finish(make())

    async def found(self, name: str) -> tuple[Path, str]:
        """The folder of a collection, and the name of its model. As `use`."""
        path = self._shelf.path(name)
        return path, await self._open.model_for(path)

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[tuple[Opened, Model]]:
        """A collection and its model, until the block is left.

        Raises:
            ApiError: there is no such collection (404), or its model is not served (409).
        """
        path, model = await self.found(name)

        def open_it() -> Collection:
            collection = Collection(path, encoder=used.encoder)
            take_back(self.uploads_of(name), collection)
            return collection

        # it is not watched: a collection sees by itself what others write
        async with self._models.use(model) as used, self._open.use(path, used, open_it) as opened:
            yield opened, used

    async def change(self, name: str, opened: Opened, do: Callable[[], Answer]) -> Answer:
        """Change a collection that is in use, in a thread: one change at a time, and each to its end.

        Raises:
            ApiError: it was deleted (404) or moved to another model (503) since it was opened.
        """

        async def alone() -> Answer:
            try:
                async with opened.lock:
                    if opened.gone:
                        self._shelf.path(name)
                        raise ApiError(503, f"the collection {name!r} was moved meanwhile: try again", retry_after=1)
                    return await asyncio.to_thread(do)
            finally:
                self._open.let_go(opened)

        opened.users += 1  # until it is done, whatever becomes of the request
        return await self._works.finish(alone())

    async def look_through(self, opened: Opened, do: Callable[[], Answer]) -> Answer:
        """Look at all of a collection that is in use, in a thread: one at a time, ended soon after the caller left.

        Args:
            opened: the collection.
            do: what takes long; reports its progress, by which it is ended.

        Raises:
            ApiError: another is at it (429).
        """
        if opened.searched:
            raise ApiError(429, "another such search of this collection is under way: try again", retry_after=5)
        left = threading.Event()

        def hear(_: Progress) -> None:
            if left.is_set():
                raise _LeftError

        def work() -> Answer:
            with progress.listen(hear):
                return do()

        async def alone() -> Answer:
            try:
                return await asyncio.to_thread(work)
            finally:
                opened.searched = False
                self._open.let_go(opened)

        opened.searched, opened.users = True, opened.users + 1
        try:
            return await self._works.finish(alone())
        except asyncio.CancelledError:
            left.set()
            raise

    async def delete(self, name: str) -> None:
        """Delete a collection and what was uploaded to it.

        Raises:
            ApiError: there is no such collection (404).
        """
        await self._works.finish(self._open.delete(self._shelf.path(name), self.uploads_of(name)))

    def retire(self, name: str) -> None:
        """Have a collection opened anew by the next request: it was moved to another model."""
        self._open.retire(self._shelf.place(name))


class _LeftError(Exception):
    """Whoever asked has gone."""
