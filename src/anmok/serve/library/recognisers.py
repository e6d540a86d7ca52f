"""Recognisers: what `anmok adapt` made, opened by name."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from anmok.adapt import AdaptedClassifier
from anmok.serve.library.open_things import state_of
from anmok.serve.library.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from anmok.serve.library.open_things import OpenThings
    from anmok.serve.models import Model, Models

__all__ = ["Recognisers"]


class Recognisers:
    """All recognisers that lie in the folder of a service."""

    def __init__(self, home: Path, models: Models, opened: OpenThings) -> None:
        self._models, self._open = models, opened
        self._shelf = Shelf(home / "recognisers", "recogniser", suffix="")
        self._described: dict[Path, tuple[object, dict[str, Any]]] = {}  # and the state of its files

    def names(self) -> list[str]:
        """Of all recognisers, sorted."""
        return self._shelf.names()

    async def describe(self, name: str) -> dict[str, Any]:
        """What a recogniser says of itself; see `AdaptedClassifier.describe`.

        Raises:
            ApiError: there is none of that name (404).
            RecogniserError: it is damaged.
        """
        return await asyncio.to_thread(self._describe, self._shelf.path(name))

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[tuple[AdaptedClassifier, Model]]:
        """An adapted recogniser, and its model, which may be its own, until the block is left.

        Raises:
            ApiError: there is none of that name (404), or its model is not served (409).
            RecogniserError: it is damaged.
        """
        path = self._shelf.path(name)
        named = (await self.describe(name))["encoder"]
        if named["own"]:
            async with self._open.use(path, None, lambda: AdaptedClassifier.load(path), watched=True) as opened:
                opened.own = opened.own or self._models.add(f"recogniser {name}", opened.thing.encoder)
                with opened.own.held():
                    yield opened.thing, opened.own
            return
        async with (
            self._models.use(self._open.model_of(named["name"])) as used,
            self._open.use(path, used, lambda: AdaptedClassifier.load(path, used.encoder), watched=True) as opened,
        ):
            yield opened.thing, used

    def _describe(self, path: Path) -> dict[str, Any]:
        state = state_of(path)  # before it is read: a change meanwhile is seen next time
        known = self._described.get(path)
        if known is None or known[0] != state:
            known = self._described[path] = (state, AdaptedClassifier.describe(path))
        return known[1]
