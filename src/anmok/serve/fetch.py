"""Pictures behind addresses that strangers send: fetched from the open internet, and from nowhere else.

A service that fetches what it is told can be told to fetch what only it can reach: its own ports, its neighbours, the
keys that a cloud hands to its machines. So one call opens connections, in `Fetcher._connect`, and it is given IP
addresses that were checked. Every address of a host must be public, and a name that leads elsewhere a moment later
changes nothing. A redirect begins all of this again. HTTP is h11's, which knows no sockets: a client with pools,
proxies and environment variables of its own would stand between the check and the connection.

An internal host is refused in the same words as an unknown one, and before anything is asked of it, so that nobody can
map the network behind the service.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

import h11

from anmok.errors import PictureError
from anmok.serve.addresses import is_public
from anmok.serve.picture_url import Refused, parse, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Container
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    from anmok.serve.picture_url import PictureUrl

__all__ = ["Fetcher"]

REDIRECTS = (301, 302, 303, 307, 308)
RESOLVERS = 16  # threads
MOST_TRIED = 3  # addresses of one host
MOST_HEAD = 2**16  # bytes of an answer's head
MOST_FRAMING = 2**18  # bytes of an answer that are no picture: one in crumbs costs more time than its length says
READ_BYTES = 2**14


@dataclass(frozen=True)
class Fetcher:
    """Fetches pictures, each over connections of its own. How many at once is for the caller to bound.

    `max_bytes`: a longer picture is refused.
    `timeout_s`: what one picture may take in all, in seconds: names, connections, redirects and bytes.
    `redirects`: how many are followed.
    `ports`: those that addresses may lead to; `range(1, 65536)` allows all.
    `closed`: networks that have public addresses but are not for strangers, such as one's own IPv6 network.
    """

    max_bytes: int
    timeout_s: float
    redirects: int = 3
    ports: Container[int] = (80, 443)
    closed: Collection[IPv4Network | IPv6Network] = ()

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an address. Whether they are a picture is for `read` to say.

        Raises:
            PictureError: what went wrong. It names the address, without its query.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._follow(url)
        except TimeoutError:
            raise PictureError(shown(url), f"was not there within {self.timeout_s:g} seconds") from None
        except Refused as error:
            raise PictureError(shown(url), str(error)) from None

    async def _follow(self, url: str) -> bytes:
        before: PictureUrl | None = None
        for _ in range(self.redirects + 1):
            try:
                place = parse(url, before)
                if before and before.scheme == "https" and place.scheme == "http":
                    raise Refused("it leads from https to http")
                answer = await self._get(place)
            except Refused as error:
                raise Refused(f"after a redirect, {error}" if before else str(error)) from None
            if isinstance(answer, bytes):
                return answer
            before, url = place, answer
        raise Refused(f"it is redirected more than {self.redirects} times")

    async def _get(self, place: PictureUrl) -> bytes | str:
        """The picture, or, as text, the address where it is said to be instead."""
        if place.port not in self.ports:
            raise Refused(f"port {place.port} is not allowed")
        reader, writer = await self._connect(place)
        try:
            exchange = _Exchange(reader, writer)
            response = await exchange.ask(place)
            headers = dict(response.headers)
            if response.status_code in REDIRECTS and b"location" in headers:
                return headers[b"location"].decode("utf-8", "replace")
            if response.status_code != 200:
                raise Refused(f"the server answers {response.status_code}")
            if headers.get(b"content-encoding", b"identity").lower() != b"identity":
                raise Refused("it is sent compressed, which was not asked for")
            return await exchange.body(int(headers.get(b"content-length", 0)), self.max_bytes)
        except (OSError, h11.RemoteProtocolError):
            raise Refused("the server breaks off, or does not answer in proper HTTP") from None
        finally:
            writer.transport.abort()

    async def _connect(self, place: PictureUrl) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the first of the host's addresses that takes one, each in its share of the time."""
        addresses = (await self._public_addresses(place))[:MOST_TRIED]
        reason = ""
        for address in addresses:
            try:
                async with asyncio.timeout(self.timeout_s / (1 + len(addresses))):
                    return await asyncio.open_connection(
                        str(address),
                        place.port,
                        flags=socket.AI_NUMERICHOST,  # never a name
                        limit=READ_BYTES,
                        ssl=_tls() if place.scheme == "https" else None,
                        server_hostname=place.host if place.scheme == "https" else None,
                    )
            except ssl.SSLCertVerificationError:
                reason = "the server has no valid certificate for its name"
            except OSError:
                reason = "the server cannot be reached"
        raise Refused(reason)

    async def _public_addresses(self, place: PictureUrl) -> list[IPv4Address | IPv6Address]:
        """All addresses of a host, which is refused if one of them is not public."""
        look_up = partial(socket.getaddrinfo, place.host, place.port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.get_running_loop().run_in_executor(_resolvers(), look_up)
        except (OSError, UnicodeError):
            found = []
        addresses = list(dict.fromkeys(ip_address(where[0]) for *_, where in found))
        if not addresses or not all(is_public(address, self.closed) for address in addresses):
            raise Refused("its host is unknown or not public; only public ones are asked")
        return addresses


@cache
def _resolvers() -> ThreadPoolExecutor:
    """Threads of their own: names whose servers keep silent hold nothing up but other names."""
    return ThreadPoolExecutor(RESOLVERS, "anmok-resolve")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Exchange:
    """One request and its answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
        self._framing = 0  # bytes so far that are no picture

    async def ask(self, place: PictureUrl) -> h11.Response:
        """Send the request and wait for the head of the answer."""
        headers = [
            ("Host", place.authority),
            ("User-Agent", "anmok"),
            ("Accept", "image/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]
        for sent in (h11.Request(method="GET", target=place.target, headers=headers), h11.EndOfMessage()):
            self._writer.write(self._http.send(sent) or b"")
        event = await self._event()
        while isinstance(event, h11.InformationalResponse):
            event = await self._event()
        assert isinstance(event, h11.Response)
        return event

    async def body(self, announced: int, max_bytes: int) -> bytes:
        """What the answer holds; neither what it announces nor what it sends may be more than `max_bytes`."""
        held = bytearray()
        while max(len(held), announced) <= max_bytes:
            event = await self._event()
            if not isinstance(event, h11.Data):
                return bytes(held)
            held += event.data
        raise Refused(f"it is longer than the limit of {max_bytes:,} bytes")

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._framing > MOST_FRAMING:
                raise Refused("the server sends many bytes and little picture")
            await asyncio.sleep(0)  # lets others run: what is there already is read without a pause
            received = await self._reader.read(READ_BYTES)
            self._framing += len(received)
            self._http.receive_data(received)
        if isinstance(event, h11.Data):
            self._framing -= len(event.data)
        return event
