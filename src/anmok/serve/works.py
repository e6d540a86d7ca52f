"""Work that is done to its end once it has begun, whoever still waits for it.

A request ends when its client leaves or its time is up, but a thread cannot be stopped: without this, a lock would be
given back while the thread still writes.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Works"]

Answer = TypeVar("Answer")
PATIENCE = 20.0  # seconds for what is under way when the service stops


class Works:
    """What is under way; used from one event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
        """Begin; to wait for it, shield it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)
        return task

    async def finish(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """Begin, and wait. If the caller is cancelled the work goes on."""
        return await asyncio.shield(self.begin(work))

    async def settle(self) -> None:
        """Wait for all that is under way, but not for ever."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the caller has it; one that left does not want it
