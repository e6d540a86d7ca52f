"""Label sets: made, opened and deleted by name."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anmok.classify import LabelSet, LabelStore, open_classifier
from anmok.serve.library.shelf import Shelf, beside
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from anmok.classify.classifier import Recognizer
    from anmok.serve.library.open_things import OpenThings
    from anmok.serve.models import Model, Models
    from anmok.serve.works import Works

__all__ = ["LabelSets"]


class LabelSets:
    """All label sets of a service."""

    def __init__(self, home: Path, models: Models, opened: OpenThings, works: Works) -> None:
        self._models, self._open, self._works = models, opened, works
        self._shelf = Shelf(home / "labels", "label set")

    def names(self) -> list[str]:
        """Of all label sets, sorted."""
        return self._shelf.names()

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[tuple[Recognizer, Model]]:
        """A classifier of a label set, and its model, until the block is left.

        Raises:
            ApiError: there is none of that name (404), it is empty (409), or its model is not served (409).
        """
        path = self._shelf.path(name)
        async with (
            self._models.use(await self._open.model_for(path)) as used,
            self._open.use(path, used, lambda: open_classifier(path, used.encoder), watched=True) as opened,
        ):
            yield opened.thing, used

    @asynccontextmanager
    async def store(self, name: str) -> AsyncIterator[LabelStore]:
        """A label set to look at or change, until the block is left.

        Raises:
            ApiError: there is none of that name (404), or its model is not served (409).
        """
        path = self._shelf.path(name)
        async with self._models.use(await self._open.model_for(path)) as used:
            store = await self._open.thread(lambda: LabelStore(path, used.encoder, create=False))
            try:
                yield store
            finally:
                await self._works.finish(asyncio.to_thread(store.close))

    async def create(self, name: str, labels: LabelSet, templates: str, model: str | None) -> None:
        """Make a label set.

        Raises:
            ApiError: there is one of this name (409), or no such model (404).
        """
        path = self._shelf.place(name)
        taken = f"there is a label set {name!r} already: change it, or give another name"
        if path.exists():
            raise ApiError(409, taken)

        async def make() -> None:
            async with self._models.use(model) as used:
                new = beside(path, "new")
                await asyncio.to_thread(_fill, new, used, labels, templates)
                await self._open.put_in_place(new, path, taken)

        await self._works.finish(make())

    async def delete(self, name: str) -> None:
        """Delete a label set.

        Raises:
            ApiError: there is none of that name (404).
        """
        await self._works.finish(self._open.delete(self._shelf.path(name)))


def _fill(new: Path, model: Model, labels: LabelSet, templates: str) -> None:
    try:
        with LabelStore(new, model.encoder, templates=templates) as store:
            store.add(labels)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
