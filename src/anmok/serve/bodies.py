"""Room in memory for the bodies of all requests together: what does not fit waits a moment, and is refused then."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field

from anmok.serve.problems import ApiError

__all__ = ["FREE", "Bodies"]

FREE = 64 << 10  # bytes of each body that need no room, so that small requests pass whatever large ones do
PATIENCE_S = 5.0  # that a body waits for room
SHARE = 0.5  # of the room, that one client may hold, so that a slow one leaves some to others


class Bodies:
    """Bytes that bodies may take together; used from one event loop.

    A body takes all its room at once, before it is read, so that two that are half there never wait for each other. One
    whose length is not known takes what the largest may have, and gives back the rest when it is whole. A client may
    hold its share, or a single body.
    """

    def __init__(self, most: int) -> None:
        self.taken = 0
        self._most = most
        self._held: Counter[str] = Counter()  # bytes by client
        self._waiting: deque[_Place] = deque()  # those that came first are first

    async def take(self, size: int, client: str) -> None:
        """Room for so many bytes, once it is there. Whoever takes it gives it back.

        Raises:
            ApiError: there was none within PATIENCE_S seconds (429).
        """
        place = _Place(size, client)
        self._waiting.append(place)
        self._admit()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await place.admitted
        except BaseException as error:
            if place.admitted.done() and not place.admitted.cancelled():
                self.give_back(size, client)  # it came at the very moment
            else:
                with suppress(ValueError):
                    self._waiting.remove(place)
                self._admit()  # those behind it may be smaller
            if not isinstance(error, TimeoutError):
                raise
            message = f"other large requests take all that they may of {self._most:,} bytes: try again"
            raise ApiError(429, message, retry_after=PATIENCE_S) from error

    def give_back(self, size: int, client: str) -> None:
        """So many bytes are free again."""
        self.taken -= size
        self._held[client] -= size
        if not self._held[client]:
            del self._held[client]
        self._admit()

    def _admit(self) -> None:
        """Let those in that fit, in their order: a large one is overtaken only while it waits for its own client's."""
        for place in list(self._waiting):
            held = self._held[place.client]
            if held and held + place.size > SHARE * self._most:
                continue
            if self.taken + place.size > self._most:
                return
            self._waiting.remove(place)
            if not place.admitted.done():
                self.taken += place.size
                self._held[place.client] += place.size
                place.admitted.set_result(None)


@dataclass(eq=False)
class _Place:
    """Of one body in the queue."""

    size: int
    client: str
    admitted: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
