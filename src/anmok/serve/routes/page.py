"""`/` and `/page/…`: the web page, a client of the API like any other.

Its files are read when the service starts and are known by name: no path that a browser sends ever reaches the disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response

from anmok.serve.problems import ApiError

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class PageFile:
    """A file of the page, as it is answered with."""

    content: bytes
    media_type: str
    etag: str


def _read() -> dict[str, PageFile]:
    found = {}
    for file in (files("anmok.serve") / "page").iterdir():
        kind = KINDS.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = PageFile(content, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


FILES = _read()


@router.api_route("/", methods=["GET", "HEAD"], name="page")
async def page(request: Request) -> Response:
    """The web page."""
    return _answer(request, FILES["index.html"])


@router.api_route("/page/{file}", methods=["GET", "HEAD"], name="page_file")
async def page_file(request: Request, file: str) -> Response:
    """A file of the web page."""
    if file not in FILES:
        raise ApiError(404, "the page has no such file")
    return _answer(request, FILES[file])


def _answer(request: Request, file: PageFile) -> Response:
    # Browsers keep the file but ask each time whether it is still so: an update of anmok is seen at once.
    headers = {"ETag": file.etag, "Cache-Control": "no-cache"}
    given = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if file.etag in given:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
