"""Who waits for changes of jobs: coroutines, told by the threads that do the work.

A watcher holds the newest state only. One that is slow misses states in between, and costs nothing while it waits.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.serve.job import Job

__all__ = ["Watchers"]

SHOWN_EVERY = 0.1  # seconds, at least, between two states that a watcher is shown


class Watcher:
    """One coroutine that waits for newer states of one job."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._told = False  # the loop knows already
        self._newest: Job | None = None

    def tell(self, job: Job | None) -> None:
        """A newer state, or None to end the watch. From any thread."""
        self._newest = job
        if not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has ended, and the watcher with it
                self._loop.call_soon_threadsafe(self._woken.set)

    async def newer(self, last: Job) -> Job | None:
        """The newest state, once there is one after `last`; None when the watch is over."""
        due = self._loop.time() + SHOWN_EVERY
        while True:
            await self._woken.wait()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            self._woken.clear()
            self._told = False  # before the newest is taken: what comes after that tells again
            newest = self._newest
            if newest is not last:
                return newest


class Watchers:
    """The watchers of all jobs."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._of: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._dismissed = False

    @contextmanager
    def watching(self, id: str) -> Iterator[Watcher]:
        """A watcher of a job while the block runs."""
        watcher = Watcher()
        with self._lock:
            self._of[id].add(watcher)
            if self._dismissed:
                watcher.tell(None)
        try:
            yield watcher
        finally:
            with self._lock:
                self._of[id].discard(watcher)
                if not self._of[id]:
                    del self._of[id]

    def tell(self, job: Job) -> None:
        """Show a new state to those who watch the job. From any thread."""
        with self._lock:
            for watcher in () if self._dismissed else self._of.get(job.id, ()):
                watcher.tell(job)

    def dismiss(self) -> None:
        """End every watch, and those that begin later after the state they find."""
        with self._lock:
            self._dismissed = True
            for watchers in self._of.values():
                for watcher in watchers:
                    watcher.tell(None)

    def __len__(self) -> int:
        """How many watch now."""
        with self._lock:
            return sum(map(len, self._of.values()))
