"""What is open: collections, label sets and recognisers stay so between requests, so many of them at most.

One that was deleted or moved to another model is closed when the last request lets go of it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import OrderedDict
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anmok.serve.library.shelf import STORE, beside
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from anmok.serve.models import Model, Models
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.works import Works

__all__ = ["OpenThings", "Opened", "state_of"]

Answer = TypeVar("Answer")


@dataclass(eq=False)
class Opened:
    """Something in use, with the name of its model."""

    name: str
    thing: Any
    model: str
    state: Any = None  # of its files when it was opened, of what does not see by itself that they change
    own: Model | None = None  # added to the models for it alone
    users: int = 0
    gone: bool = False  # deleted, or moved to another model, since it was opened
    searched: bool = False  # by something long, of which there is one at a time
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by what changes it


class OpenThings:
    """What is open, by its folder; used from one event loop."""

    def __init__(self, settings: ServiceSettings, models: Models, works: Works) -> None:
        self._sources, self._most = settings.sources, settings.kept_open
        self._models, self._works = models, works
        self._open: OrderedDict[Path, Opened] = OrderedDict()  # the longest unused first
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def use(
        self, path: Path, model: Model | None, open_it: Callable[[], Any], *, watched: bool = False
    ) -> AsyncIterator[Opened]:
        """Something of which a store or recogniser is in a folder, opened if need be, until the block is left.

        Args:
            path: the folder.
            model: that it is used with; None: it brings its own.
            open_it: opens it, in a thread.
            watched: whether it is opened anew when its files have changed.

        Raises:
            ApiError: it was deleted meanwhile (404).
        """
        opened = await self._opened(path, model, open_it, watched=watched)
        try:
            yield opened
        finally:
            self.let_go(opened)

    async def model_for(self, path: Path) -> str:
        """The served model of a store.

        Raises:
            ApiError: it is not served (409).
        """
        if (opened := self._open.get(path)) is not None:
            return opened.model
        return self.model_of(await asyncio.to_thread(_encoder_name, path))

    def model_of(self, encoder: str) -> str:
        """The served model by which something was made. As `model_for`."""
        for name, source in self._sources.items():
            if encoder in (name, source):
                return name
        shown = Path(encoder).name
        raise ApiError(409, f"this was made with the model {shown!r}, which is not served: start with --model {shown}")

    def let_go(self, opened: Opened, *, users: int = 1) -> None:
        """One user less; closed when nobody has it and it is not kept open."""
        opened.users -= users
        if any(one is opened for one in self._open.values()):
            self._close_unused()
        elif not opened.users:
            if hasattr(opened.thing, "close"):
                opened.thing.close()
            if opened.own is not None:
                self._models.remove(opened.own)

    def retire(self, path: Path) -> None:
        """Keep something open no longer; closed when the last request lets go of it."""
        if (opened := self._open.pop(path, None)) is not None:
            opened.gone = True
            self.let_go(opened, users=0)

    def retire_all_of(self, model: Model) -> None:
        """Keep nothing open that holds the encoder of a model in memory."""
        for path, opened in list(self._open.items()):
            if opened.thing.encoder is model.encoder:
                self.retire(path)

    def close(self) -> None:
        """Close all."""
        for path in list(self._open):
            self.retire(path)

    async def thread(self, open_it: Callable[[], Answer]) -> Answer:
        """Open something in a thread; where the caller leaves meanwhile it is closed again."""
        task = self._works.begin(asyncio.to_thread(open_it))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_close_result)
            raise

    async def put_in_place(self, new: Path, path: Path, taken: str) -> None:
        """Give what was made its name.

        Raises:
            ApiError: another has it, which `taken` says (409).
        """
        async with self._opening:
            if not path.exists():
                new.rename(path)
                return
        await asyncio.to_thread(shutil.rmtree, new, ignore_errors=True)
        raise ApiError(409, taken)

    async def delete(self, path: Path, *more: Path) -> None:
        """Delete a store and what belongs to it: at once, whole; then at leisure."""
        gone = []
        async with self._opening:
            opened = self._open.get(path)
            async with opened.lock if opened is not None else asyncio.Lock():
                self.retire(path)
                for one in (path, *more):
                    if one.exists():
                        gone.append(beside(one, "deleted"))
                        one.rename(gone[-1])
        for one in gone:
            await asyncio.to_thread(shutil.rmtree, one, ignore_errors=True)

    async def _opened(self, path: Path, model: Model | None, open_it: Callable[[], Any], *, watched: bool) -> Opened:
        async with self._opening:
            name = path.name.removesuffix(STORE)
            if not path.is_dir():  # opening it would make it anew
                raise ApiError(404, f"{name!r} was deleted a moment ago")
            state = await asyncio.to_thread(state_of, path) if watched else None
            opened = self._open.get(path)
            other = opened is not None and model is not None and opened.thing.encoder is not model.encoder
            if opened is not None and (other or opened.state != state):
                self.retire(path)
                opened = None
            if opened is None:
                thing = await self.thread(open_it)
                opened = self._open[path] = Opened(name, thing, model.name if model else "", state)
            self._open.move_to_end(path)
            opened.users += 1
            self._close_unused()
            return opened

    def _close_unused(self) -> None:
        """Keep no more open than may be: of those that nobody uses the longest unused go."""
        unused = [path for path, opened in self._open.items() if not opened.users]
        for path in unused[: max(0, len(self._open) - self._most)]:
            self.retire(path)


def state_of(path: Path) -> tuple[int, ...]:
    """Of the files of a store or a recogniser: changes when somebody writes."""
    found = []
    for file in sorted(path.iterdir()):
        if file.name.endswith((".sqlite", "-wal", ".json", ".safetensors")):
            with suppress(FileNotFoundError):  # SQLite deletes its log when the last one closes the database
                status = file.stat()
                found += [status.st_mtime_ns, status.st_size, status.st_ino]
    return tuple(found)


def _close_result(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is None and hasattr(task.result(), "close"):
        task.result().close()


def _encoder_name(path: Path) -> str:
    """The name of the encoder that a store was made with."""
    from anmok.store import Store

    with Store.open(path, readonly=True) as store:
        return str(store.contract.get("encoder"))
