"""Fetch a picture from an http(s) address that the caller allowed: bounded in size and time."""

from __future__ import annotations

import time
import urllib.request
from http.client import HTTPException
from typing import IO, TYPE_CHECKING
from urllib.error import HTTPError, URLError

from anmok.errors import PictureError

if TYPE_CHECKING:
    from http.client import HTTPMessage, HTTPResponse

__all__ = ["download"]

MAX_BYTES = 64 * 2**20
CHUNK_BYTES = 2**16


def download(url: str, *, max_bytes: int = MAX_BYTES, timeout_s: float = 20.0) -> bytes:
    """The bytes behind `url`. Whether they are a picture is for `read` to say.

    Only http and https, also after a redirect. Addresses inside the caller's own network are
    not held back: a service that takes addresses from strangers must not offer this.

    Args:
        url: the address.
        max_bytes: give up on a longer answer.
        timeout_s: give up when the whole takes longer, in seconds.

    Raises:
        PictureError: what went wrong, naming the address.
    """
    deadline = time.monotonic() + timeout_s
    try:
        # S310 asks that the scheme be checked: the opener knows http and https only.
        request = urllib.request.Request(url, headers={"User-Agent": "anmok", "Accept": "image/*"})  # noqa: S310
        with _opener().open(request, timeout=timeout_s) as answer:
            return _read_bounded(answer, url, max_bytes, deadline)
    except HTTPError as error:
        with error:
            raise PictureError(url, f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise PictureError(url, f"no answer within {timeout_s:g} seconds") from error
    except URLError as error:
        raise PictureError(url, f"cannot be fetched: {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise PictureError(url, f"cannot be fetched: {error or type(error).__name__}") from error


def _read_bounded(answer: HTTPResponse, url: str, max_bytes: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := answer.read1(CHUNK_BYTES):
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise PictureError(url, f"is longer than the limit of {max_bytes:,} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


class _SameKindRedirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http(s) only; the standard handler would also go to ftp."""

    def redirect_request(  # noqa: PLR0917 (the standard library's signature)
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            reason = f"redirects to {newurl!r}, expected http or https"
            raise HTTPError(req.full_url, code, reason, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """An opener that knows http and https and nothing else (no file:, no ftp:)."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        _SameKindRedirect(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener
