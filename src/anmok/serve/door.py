"""Around every request: its number, its size and time, who sends it from where, what is logged and counted.

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

from starlette.requests import HTTPConnection

from anmok.errors import StoreFull
from anmok.files import disk_full
from anmok.serve.access import PUBLIC
from anmok.serve.bodies import Bodies
from anmok.serve.body import Body, drained, has_body
from anmok.serve.problems import CODES, answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from anmok.serve.access import Access
    from anmok.serve.metrics import Metrics
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.tracing import Traced

__all__ = ["Door"]

log = logging.getLogger("anmok.serve.requests")

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
FULL = "the service's disk is full: nothing of this was kept. Send it again once there is room"
INTERNAL = "something went wrong here, not with you. The log has more, under {}"
SAFETY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
        b" manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]


class Door:
    """ASGI middleware; the outermost."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, access: Access, metrics: Metrics) -> None:
        self._app, self._settings, self._access, self._metrics = app, settings, access, metrics
        self._bodies = Bodies(settings.bodies_bytes)
        # whether other sites' pages may show pictures from here, which needs no script and so no CORS
        embedded = b"cross-origin" if settings.origins else b"same-origin"
        self._safety = [*SAFETY, (b"cross-origin-resource-policy", embedded)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, send, self._safety)
        scope["request_id"] = visit.id
        traced = self._metrics.tracing.request(scope["headers"], visit.id)
        try:
            refused = self._refusal(scope)
            if refused is not None:
                if has_body(scope) and not await drained(scope, receive):
                    refused.headers["Connection"] = "close"
                await refused(scope, receive, visit.send)
            else:
                await self._pass(scope, receive, visit)
        finally:
            self._note(scope, visit, traced)

    async def _pass(self, scope: Scope, receive: Receive, visit: _Visit) -> None:
        most, bodies = self._settings.request_bytes, self._bodies
        body = Body(scope, receive, limit=most, bodies=bodies, admit=lambda: self._admit(scope))
        seconds = self._settings.request_s
        task = asyncio.current_task()
        timer = asyncio.timeout(seconds)
        try:
            async with timer:
                visit.begins = lambda: timer.reschedule(None)  # an answer that has begun may go on
                body.leaves = lambda: visit.status is None and task is not None and task.cancel()
                body.watch()
                await self._app(scope, body.receive, visit.send)
        except asyncio.CancelledError:
            if not body.left or task is None:
                raise
            task.uncancel()  # the client has gone: nobody waits for an answer
        except Exception as error:
            if visit.status is not None:
                raise
            visit.begins = lambda: None
            if isinstance(error, TimeoutError) and timer.expired():
                failed = self._own(scope, 504, f"this took longer than {seconds:g} seconds")
            elif isinstance(error, StoreFull) or disk_full(error):
                log.error("the disk is full (%s), request %s", error, visit.id)
                failed = self._own(scope, 507, FULL)
            else:
                log.exception("%s %r failed, request %s", scope["method"], scope["path"], visit.id)
                failed = self._own(scope, 500, INTERNAL.format(visit.id))
            failed.headers["Connection"] = "close"
            await failed(scope, receive, visit.send)
        finally:
            body.close()

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Why a request is not even looked at."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or len(length) > 15 or int(length) > self._settings.request_bytes:
            return self._own(scope, 413, f"the request has more than {self._settings.request_bytes:,} bytes")
        elsewhere = None if self._settings.keys_required else self._from_elsewhere(headers)
        return None if elsewhere is None else self._own(scope, 403, elsewhere)

    def _own(self, scope: Scope, status: int, message: str) -> JSONResponse:
        """An answer of the door itself, which stands outside of what lets pages of named sites read answers (CORS)."""
        origin = dict(scope["headers"]).get(b"origin", b"").decode("latin-1")
        known = origin in self._settings.origins
        headers = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if known else {}
        return answer(status, CODES[status], message, headers)

    def _admit(self, scope: Scope) -> str:
        """Who asks. Before a body is read, which comes before all else in a route: nothing is read of others."""
        if getattr(scope.get("route"), "name", None) in PUBLIC:
            return ""
        return self._access.admit(HTTPConnection(scope)).id

    def _from_elsewhere(self, headers: dict[bytes, str]) -> str | None:
        """Why a request is not taken for one of this machine's own."""
        # Without keys, being on this machine is what gives the right to ask. A page of another site, opened in a
        # browser here, is on this machine too: it is known by its Origin, or by the name that it had point here.
        host = headers.get(b"host", "")
        if _name_of(host) not in LOOPBACK_NAMES.union(self._settings.hosts):
            return "the service does not answer to this name: start it with --host-name, or with keys"
        origin = headers.get(b"origin")
        if origin is None or origin in self._settings.origins or origin in (f"http://{host}", f"https://{host}"):
            return None
        return "pages of other sites may not ask here: name the site with --origin, or use keys"

    def _note(self, scope: Scope, visit: _Visit, traced: Traced) -> None:
        route = getattr(scope.get("route"), "path", "none")
        status = visit.status or 499  # the client left before there was an answer
        seconds = time.perf_counter() - visit.began
        method = scope["method"] if scope["method"] in METHODS else "other"  # any word may come as a method
        self._metrics.requests.labels(route, method, str(status)).inc()
        self._metrics.request_s.labels(route).observe(seconds)
        if status >= 400:
            self._metrics.errors.labels(CODES.get(status, str(status))).inc()
        client = getattr(scope.get("state", {}).get("client"), "id", None)
        told = {
            "request_id": visit.id,
            "method": method,
            "route": route,
            "status": status,
            "ms": round(1000 * seconds, 1),
            "client": client,
            **traced.end(method, route, status),
        }
        log.info(json.dumps(told, ensure_ascii=False))


class _Visit:
    """One request: its number, when it came, and the status it was answered with."""

    def __init__(self, scope: Scope, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        self.id = given if GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        self.began = time.perf_counter()
        self.status: int | None = None
        self.begins: Callable[[], None] = lambda: None
        self._send, self._headers = send, headers

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.begins()
            number = (b"x-request-id", self.id.encode())
            message = {**message, "headers": [*message["headers"], number, *self._headers]}
        await self._send(message)


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
