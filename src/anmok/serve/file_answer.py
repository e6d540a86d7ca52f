"""A picture's file as an answer, in pieces: a client that takes it slowly holds a piece in memory, not the file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, BinaryIO

from starlette.responses import Response

from anmok.pictures import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

__all__ = ["FileAnswer"]

PIECE = 1 << 16  # bytes; the next is read when the client has taken most of this one
MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WebP": "image/webp",
    "AVIF": "image/avif",
    "BMP": "image/bmp",
}


class FileAnswer(Response):
    """A file that is open already, so that it is whole whoever replaces it meanwhile; closed when it is sent.

    Its kind is told by what is in it; what no browser shows as a picture is only ever downloaded.

    Args:
        file: open for reading, at its start.
        size: bytes that are sent.
        headers: beside those of length and kind.
    """

    def __init__(self, file: BinaryIO, size: int, *, headers: Mapping[str, str]) -> None:
        self._file, self._size = file, size
        super().__init__(headers={**headers, "Content-Length": str(size)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        with self._file:
            piece = await asyncio.to_thread(self._file.read, min(PIECE, self._size))
            kind = MEDIA_TYPES.get(kind_of(piece) or "", "application/octet-stream").encode()
            headers = [*self.raw_headers, (b"content-type", kind)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            left = self._size - len(piece)
            while left and piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                piece = await asyncio.to_thread(self._file.read, min(PIECE, left))
                left -= len(piece)
            await send({"type": "http.response.body", "body": piece})
