"""One connection: uvicorn's, with an end to what uvicorn waits for without one.

A client may never finish the head of a request, or never take its answer, or hold connections that it does not use.
The time for a body is the door's.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from anmok.serve.problems import CODES, error_body

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Connection", "at_most"]

HEAD_S = 20.0  # for the head of a request, from its first byte on; of the first one, from the connection on
UNTAKEN_S = 30.0  # that an answer waits for a client that takes nothing of it
LOOK_S = 2.0  # between looks at a connection


class Connection(H11Protocol):
    """As uvicorn's.

    Where there are more than `most`, the one that has been idle longest is closed: who holds many and asks nothing
    loses them to those who ask. Where none is idle, the new one is refused (503).
    """

    most: ClassVar[int] = 512

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self._idle_since = self._taken_at = self.loop.time()
        self._head_since: float | None = self._idle_since
        self._untaken = 0  # bytes of answers, at the last look
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def idle_since(self) -> float | None:
        """When it was last at work, by the loop's clock; None while it is."""
        asked = self.cycle is not None and not self.cycle.response_complete
        return None if asked or self.transport.get_write_buffer_size() else self._idle_since

    @property
    def over(self) -> bool:
        """Whether it is closed but for being told so."""
        return self.transport.is_closing() and not self.transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look at it; another one may have to go."""
        super().connection_made(transport)
        self._next_look = self.loop.call_later(LOOK_S, self._look)
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look at it no longer."""
        if self._next_look is not None:
            self._next_look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note since when the head of a request is on its way."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_since = None
        elif self._head_since is None:
            self._head_since = self.loop.time()

    def on_response_complete(self) -> None:
        """Note since when it is idle."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        now = self.loop.time()
        untaken = self.transport.get_write_buffer_size()
        if not untaken or untaken < self._untaken:
            self._taken_at = now
        self._untaken = untaken
        if now - self._taken_at >= UNTAKEN_S:
            self.transport.abort()
            return
        if self._head_since is not None and now - self._head_since >= HEAD_S:
            self.transport.close()  # at once but for what is still to be sent, which is looked at as before
        self._next_look = self.loop.call_later(LOOK_S, self._look)

    def _make_room(self) -> None:
        everyone: Iterable[Any] = self.connections
        others = [one for one in everyone if one is not self and not one.over]
        idle = [(since, id(one), one) for one in others if (since := one.idle_since) is not None]
        if len(others) < self.most:
            return
        if idle:
            min(idle)[-1].transport.abort()
        else:
            self.transport.write(_refusal())
            self.transport.close()


def at_most(most: int) -> type[Connection]:
    """For `http` of uvicorn's Config: so many connections at a time."""

    class Limited(Connection):
        pass

    Limited.most = most
    return Limited


def _refusal() -> bytes:
    message = "there are as many connections as there may be, all of them in use: try again"
    body = json.dumps(error_body(CODES[503], message, status=503)).encode()
    head = ["HTTP/1.1 503 Service Unavailable", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "Retry-After: 1", "Connection: close", "", ""]).encode() + body
