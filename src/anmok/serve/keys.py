"""Keys of clients: shown once when they are made, kept as hashes, compared in constant time.

A key is `anmok_ID_SECRET`. The secret has 256 random bits, so that a plain SHA-256 of it cannot be guessed back; slow
hashes are for passwords that people choose.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

from anmok.errors import SettingsError
from anmok.files import locked, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["SCOPES", "Key", "Keys"]

SCOPES = ("read", "write")
MARK = "anmok"
PATIENCE = 5.0  # seconds for another process to finish its change
NOBODY = "0" * 64  # compared with where the id is unknown, so that this takes as long


@dataclass(frozen=True)
class Key:
    """What is kept of a key: never the key itself.

    `hash`: SHA-256 of its secret, hex. `created`: seconds since 1970. `rate`: requests a minute; None: the service's.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    hash: str
    created: int
    rate: int | None = None


class Keys:
    """The keys of a service, in a file that only its owner can read. A change is seen by a running service at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content = b""
        self._keys: dict[str, Key] = {}

    def add(self, name: str, scopes: Iterable[str] = ("read",), rate: int | None = None) -> tuple[str, Key]:
        """Make a key. Returns the key itself, which cannot be shown again, and what is kept of it.

        Raises:
            SettingsError: the name is taken, or a scope is unknown.
        """
        wanted = tuple(scope for scope in SCOPES if scope in set(scopes))
        if unknown := sorted(set(scopes) - set(SCOPES)):
            raise SettingsError(f"there is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
        with self._alone():
            if any(key.name == name for key in self.all()):
                raise SettingsError(f"there is a key named {name!r} already: give another name, or remove that one")
            number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
            key = Key(number, name, wanted, _hash(secret), int(time.time()), rate)
            self._write([*self.all(), key])
        return f"{MARK}_{number}_{secret}", key

    def remove(self, name: str) -> None:
        """Take a key's rights away.

        Raises:
            SettingsError: there is none of that name.
        """
        with self._alone():
            kept = [key for key in self.all() if key.name != name]
            if len(kept) == len(self.all()):
                raise SettingsError(f"there is no key named {name!r}")
            self._write(kept)

    def all(self) -> list[Key]:
        """What is kept, oldest first."""
        self._refresh()
        return list(self._keys.values())

    def find(self, given: str) -> Key | None:
        """The key that a client gave, or None."""
        self._refresh()
        mark, _, rest = given.partition("_")
        number, _, secret = rest.partition("_")
        key = self._keys.get(number) if mark == MARK else None
        fits = compare_digest(_hash(secret), key.hash if key else NOBODY)
        return key if key is not None and fits else None

    def _refresh(self) -> None:
        """What the file holds now. It is small and read every time: its time and number may stay while it changes."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            self._keys, self._content = {}, b""
            return
        if content != self._content:
            keys = (Key(**{**row, "scopes": tuple(row["scopes"])}) for row in json.loads(content))
            self._keys, self._content = {key.id: key for key in keys}, content

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self._path.with_suffix(".lock"), seconds=PATIENCE) as held:
            if not held:
                raise SettingsError("another process has been changing the keys for too long: try again")
            yield

    def _write(self, keys: list[Key]) -> None:
        content = json.dumps([asdict(key) for key in keys], indent=1).encode()
        write_whole(self._path, content, lasting=True, mode=0o600)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
