"""The body of one request as the app receives it: counted as it streams in, and then watched for the client leaving."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from anmok.serve.bodies import FREE
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Receive, Scope

    from anmok.serve.bodies import Bodies

__all__ = ["Body", "drained", "has_body"]

MOST_VALUES = 1_000_000  # of a JSON body: each takes many times the memory of its bytes
LINGER_S = 5.0  # seconds that a body which is refused is read on


class Body:
    """The body of a request.

    Args:
        scope: of the request.
        receive: where it comes from.
        limit: most bytes.
        bodies: where its room in memory is taken from, until it is closed.
        admit: who sends it; raises ApiError where they may not ask. Called before anything is read.
    """

    def __init__(self, scope: Scope, receive: Receive, *, limit: int, bodies: Bodies, admit: Callable[[], str]) -> None:
        self._scope, self._receive, self._limit, self._bodies = scope, receive, limit, bodies
        self._admit, self._client = admit, ""
        self._begun = self._whole = False
        self._taken = self._room = 0  # bytes that came, and that there is room for
        self._empty = not has_body(scope)
        self._values = 0  # of JSON, as far as commas and brackets tell
        self._json = not dict(scope["headers"]).get(b"content-type", b"").lower().startswith(b"multipart/")
        self._watch: asyncio.Task[Message] | None = None
        self.left = False
        self.leaves: Callable[[], object] = lambda: None

    async def receive(self) -> Message:
        """The next message.

        Raises:
            HTTPException: the body is too large, there is no room for it, or its sender may not ask.
        """
        try:
            return await self._next()
        except ApiError as error:  # routes read bodies inside of FastAPI, which lets pass no other exception than this
            whole = self._whole or await drained(self._scope, self._receive)
            headers = None if whole else {"Connection": "close"}
            raise HTTPException(error.status, error.message, headers=headers) from error

    async def _next(self) -> Message:
        if not self._begun and not self._empty:
            await self._begin()
        if self._empty and self._watch is not None:
            self._empty = False
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._watch is not None:  # the body is whole: what comes next is the end
            return await asyncio.shield(self._watch)
        message = await self._receive()
        if message["type"] == "http.request":
            self._whole = not message.get("more_body", False)
            await self._count(message.get("body", b""))
            if self._whole:
                self._watch = asyncio.create_task(self._wait())
        else:
            self.left = True
        return message

    def watch(self) -> None:
        """Watch from the start where there is no body, which nobody would read then."""
        if self._empty:
            self._watch = asyncio.create_task(self._wait())

    def close(self) -> None:
        """Watch no longer, and give back the room."""
        if self._watch is not None:
            self._watch.cancel()
        room, self._room = self._room, 0
        self._bodies.give_back(room, self._client)

    async def _begin(self) -> None:
        self._begun = True
        length = dict(self._scope["headers"]).get(b"content-length", b"0")
        self._client = self._admit()
        await self._take_room(int(length))  # the door has looked at it

    async def _count(self, part: bytes) -> None:
        self._taken += len(part)
        self._values += sum(part.count(mark) for mark in b",[{") if self._json else 0
        if self._taken > self._limit or self._values > MOST_VALUES:
            raise ApiError(413, f"the request has more than {self._limit:,} bytes, or {MOST_VALUES:,} values")
        if not self._whole and self._taken > max(FREE, self._room):  # its length is not known
            await self._take_room(self._limit)
        elif self._whole and self._taken < self._room:
            self._bodies.give_back(self._room - self._taken, self._client)
            self._room = self._taken

    async def _take_room(self, size: int) -> None:
        if size > FREE:
            await self._bodies.take(size - self._room, self._client)
            self._room = size

    async def _wait(self) -> Message:
        while (message := await self._receive())["type"] == "http.request":
            pass  # the end of an empty body
        self.left = True
        self.leaves()
        return message


def has_body(scope: Scope) -> bool:
    """Whether a request says that a body comes."""
    names = dict(scope["headers"])
    return names.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in names


async def drained(scope: Scope, receive: Receive) -> bool:
    """Read on for a while, and whether that was all: a client that is still sending may not see an answer."""
    if any(name == b"expect" for name, _ in scope["headers"]):
        return False  # it waits for leave to send
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (message := await receive())["type"] == "http.request":
                if not message.get("more_body", False):
                    return True
    return False
