"""The kinds of long jobs of a service: what each does with its arguments.

Jobs run in threads and open collections of their own; models belong to the event loop, and are held from there.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

from anmok.collections import Collection
from anmok.errors import JobError
from anmok.serve.problems import ApiError
from anmok.serve.tasks import index_folder, re_encode

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from anmok.encoder import Encoder
    from anmok.serve.jobs import JobKind
    from anmok.serve.library import Library
    from anmok.serve.models import Model

__all__ = ["job_kinds"]

Answer = TypeVar("Answer")


def job_kinds(library: Library, loop: asyncio.AbstractEventLoop) -> dict[str, JobKind]:
    """The kinds of jobs by name.

    "index": {"collection", "folder", "verify", "retry"}; "re-encode": {"collection", "model", "switch", "least_recall",
    "discard"}.
    """
    return {
        "index": lambda arguments, job: _index(library, loop, arguments),
        "re-encode": lambda arguments, job: _re_encode(library, loop, arguments),
    }


def _index(library: Library, loop: asyncio.AbstractEventLoop, arguments: dict[str, Any]) -> dict[str, Any]:
    with _told():
        path, model = _from_loop(loop, library.collections.found(arguments["collection"]))
        folder = library.roots.folder(arguments["folder"])
    with _held(library, loop, model) as used, Collection(path, encoder=_settling(used.encoder)) as collection:
        return index_folder(collection, folder, verify=arguments["verify"], retry=arguments["retry"])


def _re_encode(library: Library, loop: asyncio.AbstractEventLoop, arguments: dict[str, Any]) -> dict[str, Any]:
    name = arguments["collection"]
    with _told():
        path, model = _from_loop(loop, library.collections.found(name))
    how = {option: arguments[option] for option in ("switch", "least_recall", "discard")}
    with (
        _held(library, loop, model) as old,
        _held(library, loop, arguments["model"]) as new,
        Collection(path, encoder=old.encoder) as collection,
    ):
        try:
            return re_encode(collection, _settling(new.encoder), **how)
        finally:
            loop.call_soon_threadsafe(library.collections.retire, name)


def _settling(encoder: Encoder) -> Encoder:
    """The same encoder, which measures amid long work how to go on: a job can wait for that, requests cannot."""
    own = copy(encoder)
    own.settles = True
    return own


@contextmanager
def _held(library: Library, loop: asyncio.AbstractEventLoop, name: str) -> Iterator[Model]:
    """A model that stays loaded, for a thread."""
    with _told():
        use = library.models.use(name)
        model: Model = _from_loop(loop, use.__aenter__())
    try:
        yield model
    finally:
        _from_loop(loop, use.__aexit__(None, None, None))


def _from_loop(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


@contextmanager
def _told() -> Iterator[None]:
    """What the library refuses is why the job failed."""
    try:
        yield
    except ApiError as error:
        raise JobError(error.message) from error
