"""Around every request: its number, its size and time, where it may come from, what is logged and counted.

Plain ASGI, so that a body is counted as it streams in, whoever reads it, and is refused at the byte that is too many.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

from anmok.serve.problems import CODES, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from anmok.serve.metrics import Metrics
    from anmok.serve.settings import ServiceSettings

__all__ = ["Door"]

log = logging.getLogger("anmok.serve.requests")

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "testserver"})
INTERNAL = "something went wrong here, not with you. The log has more, under {}"
SAFETY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
        b" manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Door:
    """ASGI middleware; the outermost."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send)
        scope["request_id"] = visit.id
        try:
            refused = self._refusal(scope)
            if refused is not None:
                await answer(refused[0], CODES[refused[0]], refused[1])(scope, receive, visit.send)
            else:
                await self._pass(scope, receive, visit)
        finally:
            self._note(scope, visit)

    async def _pass(self, scope: Scope, receive: Receive, visit: _Visit) -> None:
        body = _Body(receive, self._settings.request_bytes)
        seconds = self._settings.request_s
        task = asyncio.current_task()
        try:
            async with asyncio.timeout(seconds) as timer:
                visit.begins = lambda: timer.reschedule(None)  # an answer that has begun may go on
                body.leaves = lambda: visit.status is None and task is not None and task.cancel()
                await self._app(scope, body.receive, visit.send)
        except TimeoutError:
            await self._give_up(504, f"this took longer than {seconds:g} seconds", scope, receive, visit)
        except asyncio.CancelledError:
            if not body.left or task is None:
                raise
            task.uncancel()  # the client has gone: nobody waits for an answer
        except Exception:
            if visit.status is not None:
                raise
            log.exception("%s %s failed, request %s", scope["method"], scope["path"], visit.id)
            await self._give_up(500, INTERNAL.format(visit.id), scope, receive, visit)
        finally:
            body.close()

    async def _give_up(self, status: int, message: str, scope: Scope, receive: Receive, visit: _Visit) -> None:
        if visit.status is None:
            visit.begins = lambda: None  # the time is over
            await answer(status, CODES[status], message, {"Connection": "close"})(scope, receive, visit.send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a request is not even looked at."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self._settings.request_bytes:
            return 413, f"the request has more than {self._settings.request_bytes:,} bytes"
        if self._settings.keys_required:
            return None
        # Without keys, being on this machine is what gives the right to ask. A page of another site, opened in a
        # browser here, is on this machine too: it is known by its Origin, or by the name that it had point here.
        host = headers.get(b"host", "")
        if _name_of(host) not in LOOPBACK_NAMES | set(self._settings.hosts):
            return 403, "the service does not answer to this name: start it with --host-name, or with keys"
        origin = headers.get(b"origin")
        own = origin is None or urlsplit(origin).netloc == host or origin in self._settings.origins
        return None if own else (403, "pages of other sites may not ask here: name the site with --origin, or use keys")

    def _note(self, scope: Scope, visit: _Visit) -> None:
        route = getattr(scope.get("route"), "path", "none")
        status = visit.status or 499  # the client left before there was an answer
        seconds = time.perf_counter() - visit.began
        self._metrics.requests.labels(route, scope["method"], str(status)).inc()
        self._metrics.request_s.labels(route).observe(seconds)
        if status >= 400:
            self._metrics.errors.labels(CODES.get(status, str(status))).inc()
        client = getattr(scope.get("state", {}).get("client"), "id", None)
        told = {
            "request_id": visit.id,
            "method": scope["method"],
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            "client": client,
        }
        log.info(json.dumps(told, ensure_ascii=False))


class _Visit:
    """One request: its number, when it came, and the status it was answered with."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        self.id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        self.began = time.perf_counter()
        self.status: int | None = None
        self.begins: Callable[[], None] = lambda: None
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.begins()
            message = {**message, "headers": [*message["headers"], (b"x-request-id", self.id.encode()), *SAFETY]}
        await self._send(message)


class _Body:
    """The body as the app receives it: counted, and then watched for the client leaving."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._taken = receive, limit, 0
        self._watch: asyncio.Task[Message] | None = None
        self.left = False
        self.leaves: Callable[[], object] = lambda: None

    async def receive(self) -> Message:
        """The next message.

        Raises:
            HTTPException: the body is too large.
        """
        if self._watch is not None:  # the body is whole: what comes next is the end
            return await asyncio.shield(self._watch)
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._limit:
                raise HTTPException(413, f"the request has more than {self._limit:,} bytes")
            if not message.get("more_body", False):
                self._watch = asyncio.create_task(self._wait())
        else:
            self.left = True
        return message

    def close(self) -> None:
        """Watch no longer."""
        if self._watch is not None:
            self._watch.cancel()

    async def _wait(self) -> Message:
        message = await self._receive()
        self.left = True
        self.leaves()
        return message


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
