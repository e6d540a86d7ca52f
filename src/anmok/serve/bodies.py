"""Room in memory for the bodies of all requests together: what does not fit waits a moment, and is refused then."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from anmok.serve.problems import ApiError

__all__ = ["FREE", "Bodies"]

FREE = 64 << 10  # bytes of each body that need no room, so that small requests pass whatever large ones do
PATIENCE_S = 5.0  # that a body waits for room


class Bodies:
    """Bytes that bodies may take together; used from one event loop.

    A body takes all its room at once, before it is read, so that two that are half there never wait for each other. One
    whose length is not known takes what the largest may have, and gives back the rest when it is whole.
    """

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()  # those that came first are first

    async def take(self, size: int) -> None:
        """Room for so many bytes, once it is there. Whoever takes it gives it back.

        Raises:
            ApiError: there was none within PATIENCE_S seconds (429).
        """
        if not self._waiting and self.taken + size <= self._most:
            self.taken += size
            return
        place = (size, asyncio.get_running_loop().create_future())
        self._waiting.append(place)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await place[1]
        except BaseException as error:
            if place[1].done() and not place[1].cancelled():
                self.give_back(size)  # it came at the very moment
            else:
                with suppress(ValueError):
                    self._waiting.remove(place)
                self._admit()  # those behind it may be smaller
            if not isinstance(error, TimeoutError):
                raise
            message = f"the bodies of other requests take {self._most:,} bytes, all that they may: try again"
            raise ApiError(429, message, retry_after=PATIENCE_S) from error

    def give_back(self, size: int) -> None:
        """So many bytes are free again."""
        self.taken -= size
        self._admit()

    def _admit(self) -> None:
        """Let those in that fit, in their order: a large one is not overtaken for ever."""
        while self._waiting and self.taken + self._waiting[0][0] <= self._most:
            size, place = self._waiting.popleft()
            if not place.done():
                self.taken += size
                place.set_result(None)
