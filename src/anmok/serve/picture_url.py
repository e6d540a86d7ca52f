"""The address of a picture, taken apart strictly: what readers of addresses might take differently is refused.

They differ on spaces, backslashes, user names and percent signs in hosts, and such differences are what attackers slip
through. Here an address is read once, and the name server, TLS and the `Host` header are all given what came out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, urljoin, urlsplit

import idna

from anmok.pictures import picture_name

__all__ = ["PictureUrl", "Refused", "parse", "shown"]

PORTS = {"http": 80, "https": 443}
LONGEST_URL = 2048  # characters
LONGEST_HOST = 253  # characters, as in DNS
LONGEST_SHOWN = 100  # characters of an address in a message
AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:@%]+))(?::(?P<port>[0-9]{0,5}))?")
HOST_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


class Refused(Exception):
    """Why a picture is not fetched. Whoever knows the address that was asked for makes it a `PictureError`."""


@dataclass(frozen=True)
class PictureUrl:
    """An http(s) address.

    `host` is ASCII in lower case, without a dot at its end; an IPv6 address is without brackets.
    `target` is path and query, as a request names them.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the `Host` header says: the host and, unless it is the scheme's own, the port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse(url: str, base: PictureUrl | None = None) -> PictureUrl:
    """Take an address apart.

    Args:
        url: the address.
        base: what redirected to it, which it may be relative to.

    Raises:
        Refused: it is no http(s) address, or one that readers might take differently.
    """
    if len(url) > LONGEST_URL:
        raise Refused(f"its address is longer than {LONGEST_URL} characters")
    if not url.isprintable() or " " in url or "\\" in url:
        raise Refused("its address has a space, a backslash or a control character: percent-encode it")
    try:
        parts = urlsplit(urljoin(str(base), url) if base else url)
        if parts.scheme not in PORTS:
            raise Refused("its address does not begin with http:// or https://")
        if "@" in parts.netloc:
            raise Refused("its address has a user name, which would not be sent: leave it out")
        host, port = _host_and_port(parts.netloc)
    except ValueError:
        raise Refused("its address has no valid host and port") from None
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return PictureUrl(parts.scheme, host, PORTS[parts.scheme] if port is None else port, quote(target, safe=PRINTABLE))


def shown(url: str) -> str:
    """An address as messages name it: one short line, without user name and query, which may hold secrets."""
    start = re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])
    return picture_name(start if len(start) <= LONGEST_SHOWN else start[:LONGEST_SHOWN] + "…")


def _host_and_port(netloc: str) -> tuple[str, int | None]:
    """Of `host:port`. ValueError where there is no valid host."""
    found = AUTHORITY.fullmatch(netloc)
    if found is None:
        raise ValueError
    host = str(IPv6Address(found["v6"])) if found["v6"] else _host_name(found["name"])
    return host, int(found["port"]) if found["port"] else None


def _host_name(given: str) -> str:
    """A name as DNS has it. IPv4 addresses pass in any spelling: which one is meant, the resolver says."""
    name = given.lower() if given.isascii() else idna.encode(given, uts46=True).decode("ascii")
    name = name.removesuffix(".")
    if len(name) > LONGEST_HOST or not HOST_NAME.fullmatch(name):
        raise ValueError
    return name
