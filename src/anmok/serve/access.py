"""Who may ask what: a key for every route unless the route is on a list, scopes, and how often.

Every route of the app runs `may_read`, because the app itself asks for it; a route that changes something asks for
`may_write` as well. A new route is closed until somebody opens it.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.requests import HTTPConnection

from anmok.serve.keys import SCOPES
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from anmok.serve.keys import Keys

__all__ = ["PUBLIC", "Access", "Client", "client_of", "may_read", "may_write"]

PUBLIC = frozenset({"alive", "ready", "page", "page_file", "ping", "predict"})  # names of routes that anybody may ask
ENTRIES = 10_000  # clients whose rate is remembered


@dataclass(frozen=True)
class Client:
    """Who asks: the id of a key, or the address."""

    id: str
    scopes: tuple[str, ...] = SCOPES
    rate: int = 0


class Access:
    """Keys and rates of a service."""

    def __init__(self, keys: Keys, *, required: bool, rate: int) -> None:
        self.keys, self.required = keys, required
        self._rate = rate
        self._buckets: dict[str, tuple[float, float]] = {}  # client → requests left, and when that was so

    def client(self, connection: HTTPConnection) -> Client:
        """Who asks. Where no key is needed, an unknown one is as good as none: OpenAI's clients cannot send none.

        Raises:
            ApiError: no key where one is needed, or a wrong one (401).
        """
        given = _given(connection)
        key = None if given is None else self.keys.find(given)
        if key is not None:
            return Client(key.id, key.scopes, self._rate if key.rate is None else key.rate)
        if self.required and given is not None:
            raise ApiError(401, "this key is not known here: check it, or have a new one made")
        if self.required:
            raise ApiError(401, "a key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        return Client(connection.client.host if connection.client else "local", rate=self._rate)

    def admit(self, connection: HTTPConnection) -> Client:
        """Who asks, counted once for a request.

        Raises:
            ApiError: as of `client` (401) and `count` (429).
        """
        state: Any = connection.state
        if not hasattr(state, "client"):
            client = self.client(connection)
            self.count(client)
            state.client = client
        admitted: Client = state.client
        return admitted

    def count(self, client: Client) -> None:
        """One more request of a client: a bucket of a minute's requests that fills as time goes by.

        Raises:
            ApiError: too many (429).
        """
        if not client.rate:
            return
        now = time.monotonic()
        left, since = self._buckets.pop(client.id, (float(client.rate), now))
        left = min(float(client.rate), left + (now - since) * client.rate / 60)
        if len(self._buckets) >= ENTRIES:
            self._buckets.pop(next(iter(self._buckets)))  # the longest silent one
        self._buckets[client.id] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            message = f"more than {client.rate} requests a minute"
            raise ApiError(429, message, code="rate_limited", retry_after=(1 - left) * 60 / client.rate)


async def may_read(connection: HTTPConnection) -> None:
    """For every route: a key with the scope "read", unless the route is public."""
    if connection.scope["route"].name not in PUBLIC:
        _require(connection, "read")


async def may_write(connection: HTTPConnection) -> None:
    """For routes that change something."""
    _require(connection, "write")


def client_of(connection: HTTPConnection) -> Client:
    """Who asks, once `may_read` has run."""
    client: Client = connection.state.client
    return client


def _require(connection: HTTPConnection, scope: str) -> None:
    access: Access = connection.app.state.service.access
    if scope not in access.admit(connection).scopes:
        raise ApiError(403, f"this key may not {scope}")


def _given(connection: HTTPConnection) -> str | None:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    # The key as the password in http://any:KEY@host, for clients that can only be given an address. A browser that was
    # given one once would send it along for pages of other sites too: requests of pages are told by their Origin.
    if scheme.lower() == "basic" and "origin" not in connection.headers:
        return _password(token)
    return connection.headers.get("x-api-key")


def _password(token: str) -> str | None:
    try:
        text = base64.b64decode(token, validate=True).decode()
    except ValueError:
        return None
    return text.partition(":")[2] or None
