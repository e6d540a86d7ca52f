"""Items of many requests → few runs of a model.

While the model works, what arrives waits; when it is free again, it takes as many as fit, one from each client in turn,
so that a client with a thousand pictures does not hold up one with a single picture. Where the last run had company,
the next one waits a moment for as many to come back: clients that were answered together ask together.

A few items fill the cores of a processor, and more only make everybody in the run wait for the last: a run holds about
as much as takes LONGEST_S, few items of a large model and many of a small one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Batcher"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")
LONGEST_S = 0.5  # of a run of more than one item
SMOOTHING = 0.2  # of the seconds that an item takes


class Batcher(Generic[Item, Answer]):
    """In front of one function that answers many items at once; used from one event loop.

    Args:
        run: items → their answers, in order; called in a thread, one call at a time.
        size: most items in a call.
        window_s: seconds to wait for more at most.
        waiting: items that may wait; beyond, `submit` refuses.
        ran: told the number of items and the seconds of each call.
    """

    def __init__(
        self,
        run: Callable[[list[Item]], Sequence[Answer]],
        *,
        size: int = 32,
        window_s: float = 0.004,
        waiting: int = 512,
        ran: Callable[[int, float], None] = lambda items, seconds: None,
    ) -> None:
        self._run, self._size, self._window, self._most, self._ran = run, size, window_s, waiting, ran
        self._clients: OrderedDict[str, deque[_Waiting[Item, Answer]]] = OrderedDict()
        self._count = 0
        self._last = 0  # items of the last run
        self._item_s = 0.01  # that an item takes, smoothed
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "anmok-model")
        self._loop: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return self._count

    @property
    def wait_s(self) -> float:
        """About how long a new item would wait."""
        return self._count * self._item_s

    @property
    def _fitting(self) -> int:
        """Items of a run."""
        return max(1, min(self._size, int(LONGEST_S / self._item_s)))

    async def submit(self, items: Sequence[Item], *, client: str = "") -> list[Answer]:
        """The answers to items. If the caller is cancelled, what has not begun is dropped.

        Raises:
            ApiError: too many are waiting (429).
        """
        if not items:
            return []
        if self._count and self._count + len(items) > self._most:
            message = f"{self._count} others wait for the model: try again in a moment"
            raise ApiError(429, message, retry_after=self.wait_s)
        if self._loop is None:
            self._loop = asyncio.create_task(self._serve())
        entries = [_Waiting(item, asyncio.get_running_loop().create_future()) for item in items]
        self._clients.setdefault(client, deque()).extend(entries)
        self._count += len(entries)
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(entry.answer for entry in entries)))
        finally:
            for entry in entries:
                entry.answer.cancel()  # of no effect on what is answered
            self._forget_cancelled(client)

    def close(self) -> None:
        """Stop. What is still waiting is cancelled; close the door before."""
        if self._loop is not None:
            self._loop.cancel()
        for queue in self._clients.values():
            for entry in queue:
                entry.answer.cancel()
        self._thread.shutdown(wait=False)

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            await self._company()
            batch = self._take()
            if not self._count:
                self._arrived.clear()
            if batch:
                await self._answer(batch)

    async def _company(self) -> None:
        """Wait for as many as last time, for the window at most."""
        until = time.monotonic() + self._window
        while self._count < min(self._last, self._fitting) and (left := until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.001))

    def _take(self) -> list[_Waiting[Item, Answer]]:
        """As many items as fit, one from each client in turn."""
        batch: list[_Waiting[Item, Answer]] = []
        while self._clients and len(batch) < self._fitting:
            client, queue = self._clients.popitem(last=False)
            batch.append(queue.popleft())
            if queue:
                self._clients[client] = queue
        self._count -= len(batch)
        return batch

    async def _answer(self, batch: list[_Waiting[Item, Answer]]) -> None:
        start = time.perf_counter()
        try:
            call = asyncio.get_running_loop().run_in_executor(self._thread, self._run, [one.item for one in batch])
            answers = await call
        except Exception as error:
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(error)
            return
        seconds = time.perf_counter() - start
        self._last = len(batch)
        self._item_s += SMOOTHING * (seconds / len(batch) - self._item_s)
        self._ran(len(batch), seconds)
        for one, answer in zip(batch, answers, strict=True):
            if not one.answer.done():
                one.answer.set_result(answer)

    def _forget_cancelled(self, client: str) -> None:
        queue = self._clients.get(client)
        if queue is None:
            return
        kept = deque(entry for entry in queue if not entry.answer.done())
        self._count -= len(queue) - len(kept)
        if kept:
            self._clients[client] = kept
        else:
            del self._clients[client]


class _Waiting(Generic[Item, Answer]):
    """An item, and the future of its answer."""

    __slots__ = ("answer", "item")

    def __init__(self, item: Item, answer: asyncio.Future[Answer]) -> None:
        self.item, self.answer = item, answer
