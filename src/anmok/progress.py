"""Progress of long work, told to whoever listens. Rooms report; only the faces draw.

A room wraps its loop:

    with progress.task("encoding pictures", total=len(pictures)) as advance:
        for batch in batches:
            ...
            advance(len(batch))

and a face (the command line, the service) sets a listener with `listen`. Without one,
nothing is drawn and the cost is a function call. A listener may raise to end the work: so the
service cancels.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Progress", "listen", "quiet", "task"]


@dataclass(frozen=True)
class Progress:
    """One report: `done` of `total` items (total is None where it is not known) of the work `name`."""

    name: str
    done: int
    total: int | None
    finished: bool = False


_listener: ContextVar[Callable[[Progress], None] | None] = ContextVar("anmok_progress", default=None)


@contextmanager
def listen(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Send every report made inside the `with` block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def quiet() -> Iterator[None]:
    """Nobody hears the reports made inside: the caller has one line for the whole of it."""
    with listen(lambda _: None):
        yield


@contextmanager
def task(name: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Report work `name` of `total` items; yields a function that takes how many more are done.

    Given 0 it is a sign of life, which other threads may give too.
    """
    listener = _listener.get()
    done = 0

    def advance(items: int = 1) -> None:
        nonlocal done
        if items:  # else two threads may be here
            done += items
        if listener is not None:
            listener(Progress(name, done, total))

    if listener is not None:
        listener(Progress(name, 0, total))
    try:
        yield advance
    finally:
        if listener is not None:
            listener(Progress(name, done, total, finished=True))
