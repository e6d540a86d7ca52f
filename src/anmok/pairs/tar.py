"""Where the files of a tar archive lie, from its headers alone; bodies are jumped over, nothing is unpacked.

Source: POSIX.1-2001 pax Interchange Format; GNU tar manual, "Basic Tar Format". A plain header is read here (in a
fifth of the time), anything unusual by `tarfile.TarInfo.frombuf`.
"""

from __future__ import annotations

import os
import re
import tarfile
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Member", "TarStopped", "read_members"]

BLOCK = 512
EMPTY = bytes(BLOCK)
MOST_NAME_BYTES = 1 << 20  # of a long name or the records of a pax header
NO_BODY = b"123456"  # links, devices, folders, pipes: whatever size they claim
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL, GNU_SPARSE = b"L", b"K", b"x", b"g", b"S"
REGULAR = (b"0", b"\0", b"7")
_OCTAL = re.compile(rb"[0-7]+").fullmatch


class Member(NamedTuple):
    """A regular file: its name and where its bytes are."""

    name: str
    offset: int
    size: int


class TarStopped(Exception):
    """The archive cannot be read on: `kind` is "cut", "damaged" or "joined"; `name` is the file that was cut."""

    def __init__(self, kind: str, reason: str, name: str = "") -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.name = name


def read_members(file: IO[bytes]) -> Iterator[Member]:
    """Regular files of an archive, in its order: USTAR, old V7, GNU long names and pax headers.

    Args:
        file: opened without a buffer, which would be thrown away at every jump.

    Raises:
        TarStopped: the archive is cut, damaged, or goes on behind its end; all that came before was yielded.
    """
    size = os.fstat(file.fileno()).st_size
    offset = 0
    replaced: dict[str, str] = {}  # name and size that earlier headers give to the next file
    while (header := _read(file, offset, BLOCK)) != EMPTY:
        _check_whole(header, offset, size)
        name, kind, length = _parse(header, offset)
        body = offset + BLOCK + (_sparse_headers(file, offset) if kind == GNU_SPARSE else 0)
        if kind not in (PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK):
            name, length = replaced.get("path", name), _size(replaced, length, offset)
        length = 0 if kind in NO_BODY else length
        if body + length > size:
            raise TarStopped("cut", f"it ends in the middle of {name!r}, at byte {size:,} of {body + length:,}", name)
        if kind in (PAX, PAX_GLOBAL, LONG_NAME, LONG_LINK):
            replaced |= _replacements(kind, _read(file, body, min(length, MOST_NAME_BYTES)))
        else:
            if kind in REGULAR and not name.endswith("/") and "GNU.sparse.major" not in replaced:
                yield Member(name, body, length)
            replaced = {}
        offset = body + -(-length // BLOCK) * BLOCK
    _check_end(file, offset, size)


def _read(file: IO[bytes], offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _check_whole(header: bytes, offset: int, size: int) -> None:
    if len(header) == BLOCK:
        return
    if offset >= size:
        raise TarStopped("cut", f"it ends at byte {size:,} without the mark of an archive's end")
    raise TarStopped("cut", f"it ends in the middle of a header, at byte {size:,}")


def _check_end(file: IO[bytes], offset: int, size: int) -> None:
    """Behind the end there should be nothing but zeros."""
    rest = _read(file, offset, 1 << 16)
    if rest.count(0) != len(rest):
        reason = f"its end is marked at byte {offset:,} but {size - offset:,} bytes follow (joined archives?)"
        raise TarStopped("joined", f"{reason}; split them, or join them with `tar --concatenate`")


def _parse(header: bytes, offset: int) -> tuple[str, bytes, int]:
    """Name, type and size."""
    kind, length, check = header[156:157], header[124:136].rstrip(b" \0"), header[148:156].strip(b" \0")
    if kind in b"0\0" and _OCTAL(length) and _OCTAL(check) and int(check, 8) == _checksum(header):
        prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
        name = header[:100].partition(b"\0")[0]
        whole = prefix + b"/" + name if prefix else name
        return whole.decode("utf-8", "surrogateescape"), kind, int(length, 8)
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise TarStopped("damaged", f"what should be a header at byte {offset:,} is none ({error})") from error
    if info.size < 0:
        raise TarStopped("damaged", f"the header at byte {offset:,} says {info.size} bytes")
    return info.name, info.type, info.size


def _checksum(header: bytes) -> int:
    """The sum of a header's bytes, those of the sum itself counted as spaces."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ")


def _size(replaced: dict[str, str], length: int, offset: int) -> int:
    given = replaced.get("size")
    if given is None:
        return length
    if not given.isdecimal() or len(given) > 20:
        raise TarStopped("damaged", f"the pax header before byte {offset:,} says size={given[:20]!r}")
    return int(given)


def _sparse_headers(file: IO[bytes], offset: int) -> int:
    """Bytes of the headers that follow that of a GNU sparse file (which is no picture, and jumped over)."""
    length, more = 0, _read(file, offset + 482, 1)
    while more not in (b"\0", b""):
        length += BLOCK
        more = _read(file, offset + length + 504, 1)
    return length


def _replacements(kind: bytes, body: bytes) -> dict[str, str]:
    """What a header that describes the next file gives it; global pax headers are about times and owners."""
    if kind == LONG_NAME:
        return {"path": body.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    found: dict[str, str] = {}
    while kind == PAX and body:
        length = body.partition(b" ")[0]
        if not length.isdigit() or not 0 < int(length) <= len(body):
            break
        key, _, value = body[len(length) + 1 : int(length)].removesuffix(b"\n").partition(b"=")
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        body = body[int(length) :]
    return found
