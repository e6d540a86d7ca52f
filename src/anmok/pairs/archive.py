"""Records of a WARC file: where each lies, and what one holds. Nothing of it is fetched or run.

Where records begin and end is found here, so that a cut or damaged one is told from a short one, and no record can
ask for more memory than `MOST_RECORD_BYTES`; WARC and HTTP headers and chunks are read by warcio (Apache-2.0).
Source: ISO 28500, "The WARC Format 1.1", iipc.github.io/warc-specifications.
"""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass
from importlib import import_module
from typing import IO, TYPE_CHECKING

from anmok.errors import MissingExtra
from anmok.pairs.pair import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArchiveStopped", "Record", "RecordError", "frames", "load_record"]

MOST_RECORD_BYTES = 256 << 20  # unpacked; larger records (videos, downloads) are jumped over
MOST_HEADER_BYTES = 1 << 16
READ_BYTES = 1 << 14
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_HEADER_END = re.compile(rb"\r?\n\r?\n")


class ArchiveStopped(Exception):
    """The file cannot be read on: `kind` is "cut" or "damaged"."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class RecordError(Exception):
    """One record cannot be used: `kind` and reason, as problems have them."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True)
class Record:
    """A record: its type ("response", …), address, HTTP status (0: no HTTP), headers by lower-case name, and body.

    `body` is as it was sent: `payload()` undoes chunks and compression.
    """

    kind: str
    address: str
    status: int
    headers: dict[str, str]
    refers_to: str
    body: bytes

    def payload(self) -> bytes:
        """The page or picture itself.

        Raises:
            RecordError: it is compressed in a way that cannot be undone here, or damaged.
        """
        body = self.body
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            from warcio.bufferedreaders import ChunkedDataReader

            body = ChunkedDataReader(io.BytesIO(body)).read()
        for encoding in reversed(self.headers.get("content-encoding", "").lower().replace(" ", "").split(",")):
            body = _unpacked(body, encoding)
        return body


def frames(path: str, file: IO[bytes], size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of every record, in order; of a `.warc.gz`, of the gzip member that holds it.

    Raises:
        ArchiveStopped: the file is cut or damaged; what came before was yielded.
        SourceError: it is one gzip stream, in which one cannot jump.
    """
    packed = file.read(2) == b"\x1f\x8b"
    offset = 0
    while offset < size:
        file.seek(offset)
        length = _packed_length(path, file, offset, size) if packed else _plain_length(file, offset, size)
        if length:
            yield offset, length
        offset += length or size


def load_record(data: bytes) -> Record | None:
    """Read one record from the bytes of its frame; None where it is too large to be of use.

    Raises:
        RecordError: it is no record, or its headers are damaged.
        MissingExtra: warcio is not installed.
    """
    try:
        from warcio.recordloader import ArcWarcRecordLoader
    except ImportError as error:
        raise MissingExtra("warcio", "web", "reading web archives") from error
    loader = ArcWarcRecordLoader(verify_http=False, arc2warc=False)
    try:
        if data.startswith(b"\x1f\x8b"):
            data = zlib.decompressobj(31).decompress(data, MOST_RECORD_BYTES)
        if len(data) >= MOST_RECORD_BYTES:
            return None
        record = loader.parse_record_stream(io.BytesIO(data), known_format="warc")
        http = record.http_headers
        status = http.get_statuscode() if http else ""
        return Record(
            kind=str(record.rec_type),
            address=str(record.rec_headers.get_header("WARC-Target-URI") or ""),
            status=int(status) if status.isdecimal() else 0,
            headers={name.lower(): value for name, value in (http or record.rec_headers).headers},
            refers_to=str(record.rec_headers.get_header("WARC-Refers-To-Target-URI") or ""),
            body=record.raw_stream.read(),
        )
    except Exception as error:  # warcio has errors of its own, plain ones, and those of what it calls
        raise RecordError("damaged", f"the record cannot be read: {error or type(error).__name__}") from error


def _plain_length(file: IO[bytes], offset: int, size: int) -> int:
    """Bytes of the record at `offset`, with the empty lines behind it; 0 where only empty lines are left."""
    head = file.read(MOST_HEADER_BYTES)
    blank = len(head) - len(head.lstrip(b"\r\n"))
    if blank == len(head):
        return 0
    end = _HEADER_END.search(head, blank)
    if end is None and offset + len(head) >= size:
        raise ArchiveStopped("cut", f"it ends in the header of the record at byte {offset:,}")
    found = _LENGTH.search(head, blank, end.end() if end else blank)
    if end is None or found is None or not head.startswith(b"WARC/", blank):
        raise ArchiveStopped("damaged", f"there is no record at byte {offset:,}, where one should be")
    length = end.end() + int(found[1])
    if offset + length > size:
        raise ArchiveStopped("cut", f"it ends in the middle of the record at byte {offset:,}")
    return min(length + 4, size - offset)


def _packed_length(path: str, file: IO[bytes], offset: int, size: int) -> int:
    """Bytes of the gzip member at `offset`."""
    unpacker = zlib.decompressobj(31)
    start, taken, unpacked = b"", 0, 0
    while not unpacker.eof:
        data = file.read(READ_BYTES)
        if not data:
            raise ArchiveStopped("cut", f"it ends in the middle of the record at byte {offset:,}")
        taken += len(data)
        try:
            while data and not unpacker.eof:
                piece = unpacker.decompress(data, 1 << 20)  # in pieces: a few bytes can unpack to gigabytes
                start, unpacked = (start + piece)[:MOST_HEADER_BYTES], unpacked + len(piece)
                data = unpacker.unconsumed_tail
        except zlib.error as error:
            raise ArchiveStopped("damaged", f"the record at byte {offset:,} cannot be unpacked ({error})") from error
    end, found = _HEADER_END.search(start), _LENGTH.search(start)
    if end is not None and found is not None and unpacked > end.end() + int(found[1]) + 4:
        raise SourceError(
            f"{path}: is one gzip stream, in which one cannot jump to a record: "
            "pack each on its own (warcio recompress OLD NEW), or unpack it (gunzip)"
        )
    return taken - len(unpacker.unused_data)


def _unpacked(body: bytes, encoding: str) -> bytes:
    """Undo one Content-Encoding; a body that is not packed although its headers say so is left as it is."""
    if encoding in ("", "identity") or not body:
        return body
    if encoding == "br":
        return _brotli(body)
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise RecordError("encoding", f"its Content-Encoding is {encoding!r}, which is not read")
    for window in (31, 15, -15) if encoding == "deflate" else (31,):  # servers mean three things by deflate
        unpacker = zlib.decompressobj(window)
        try:
            data = unpacker.decompress(body, MOST_RECORD_BYTES)
        except zlib.error:
            continue
        if unpacker.unconsumed_tail:
            raise RecordError("too large", f"it unpacks to more than {MOST_RECORD_BYTES >> 20} MiB")
        return data
    if body.startswith(b"\x1f\x8b"):
        raise RecordError("damaged", f"its {encoding} cannot be unpacked")
    return body


def _brotli(body: bytes) -> bytes:
    try:
        unpacker = import_module("brotli").Decompressor()
        data = bytes(unpacker.process(body, output_buffer_limit=MOST_RECORD_BYTES))
    except (ImportError, TypeError) as error:  # TypeError: before 1.2 it has no limit, and 18 bytes can be gigabytes
        raise RecordError("encoding", "it is packed with Brotli: pip install 'brotli>=1.2'") from error
    except Exception as error:  # brotli.error, which is known only where it is installed
        raise RecordError("damaged", f"its Brotli cannot be unpacked: {error}") from error
    if len(data) >= MOST_RECORD_BYTES:
        raise RecordError("too large", f"it unpacks to more than {MOST_RECORD_BYTES >> 20} MiB")
    return data
