"""The pictures of a request → their bytes: uploads, data URIs, base64, addresses, or what a collection has."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from anmok.errors import AnmokError, PictureError, StoreDamaged
from anmok.serve.problems import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from anmok.serve.service import Service

__all__ = ["MULTIPART", "Picture", "StoredPicture", "UploadRoute", "contents_of"]

log = logging.getLogger("anmok.serve")

UPLOAD = "upload:"  # what stands for a file of a multipart body, before its number
FIELD_BYTES = 1 << 20  # of a field of a multipart body that is no file
FIELDS = 1000  # of a multipart body
LISTS = ("pictures", "labels", "texts", "ids")  # fields of a multipart body that may be repeated


class StoredPicture(BaseModel):
    """A picture that a collection has."""

    collection: str
    id: str


Picture = str | StoredPicture
"""A data URI, base64, an http(s) address, or what a collection has."""

MULTIPART: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"pictures": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "additionalProperties": True,
                    "description": "`pictures` are files; the other fields are those of the JSON body: text as it is, "
                    "lists repeated, objects as JSON.",
                }
            }
        }
    }
}
"""For `openapi_extra` of the routes that take files."""


class UploadRoute(APIRoute):
    """A route whose JSON body may also come as `multipart/form-data`, with files in `pictures`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read the files, then go on as if the body had been JSON that names them."""
        handle = super().get_route_handler()

        async def handle_upload(request: Request) -> Response:
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
                await _as_json(request)
            return await handle(request)

        return handle_upload


async def _as_json(request: Request) -> None:
    service: Service = request.app.state.service
    limits = service.settings
    try:
        form = await request.form(max_files=limits.pictures, max_fields=FIELDS, max_part_size=FIELD_BYTES)
    except (UnicodeError, ValueError) as error:  # a character set that is none
        raise HTTPException(400, "the form cannot be read: send it as UTF-8") from error
    uploads: list[tuple[str, bytes]] = []
    fields: dict[str, list[Any]] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name not in ("pictures", "picture"):
                raise HTTPException(422, f"the file {value.filename!r} is in the field {name!r}, expected 'pictures'")
            fields.setdefault("pictures", []).append(f"{UPLOAD}{len(uploads)}")
            uploads.append((value.filename or "", await value.read()))
        else:
            fields.setdefault(name, []).append(_value(value, text_only=name in LISTS))
    await form.close()
    request.state.uploads = uploads
    body = {name: values if name in LISTS or len(values) > 1 else values[0] for name, values in fields.items()}
    request._body = json.dumps(body).encode()  # where Starlette keeps what it has read
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
    request.scope["headers"] = [*headers, (b"content-type", b"application/json")]
    del request._headers  # read anew


def _value(text: str, *, text_only: bool) -> Any:
    """A field of a form: JSON where it is an object, a list, a number, true, false or null; else text.

    Of a list of texts only objects and null are read as JSON: a label may be called 7.
    """
    if text_only and text != "null" and not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


async def contents_of(request: Request, pictures: Sequence[Picture]) -> list[bytes | ApiError]:
    """The bytes of each picture, or what is wrong with it.

    Raises:
        ApiError: there are too many of them (413).
    """
    service: Service = request.app.state.service
    most = service.settings.pictures
    if len(pictures) > most:
        raise ApiError(413, f"{len(pictures)} pictures in one request, at most {most}: send them in parts")
    return list(await asyncio.gather(*(_content(request, service, picture) for picture in pictures)))


async def _content(request: Request, service: Service, picture: Picture) -> bytes | ApiError:
    try:
        content = await _read(request, service, picture)
    except PictureError as error:
        return ApiError(422, error.reason, code="picture")
    except StoreDamaged as error:  # nothing of the client's
        log.error("a collection cannot be read, request %s", request.scope["request_id"], exc_info=error)
        return ApiError(500, "the collection cannot be read: the service's log says more")
    except AnmokError as error:
        return ApiError(422, service.without_paths(str(error)), code="picture")
    except ApiError as error:
        return error
    if len(content) > service.settings.picture_bytes:
        message = f"the picture has {len(content):,} bytes, at most {service.settings.picture_bytes:,}"
        return ApiError(413, message)
    return content


async def _read(request: Request, service: Service, picture: Picture) -> bytes:
    if isinstance(picture, StoredPicture):
        return await service.library.pictures.content(picture.collection, picture.id)
    if picture.startswith(UPLOAD):
        uploads = getattr(request.state, "uploads", [])
        number = picture.removeprefix(UPLOAD)
        if not number.isdecimal() or len(number) > 9 or int(number) >= len(uploads):
            raise ApiError(422, "there is no such upload in this request", code="picture")
        content: bytes = uploads[int(number)][1]
        return content
    if picture[:8].lower().startswith(("http://", "https://")):
        if service.fetch is None:
            message = "pictures by address are not allowed here: send the picture itself, or start with --allow-urls"
            raise ApiError(403, message, code="urls_not_allowed")
        with service.metrics.stage("fetch"):
            return await service.fetch(picture)
    return _decoded(picture)


def _decoded(text: str) -> bytes:
    """Of a data URI or of bare base64."""
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ApiError(422, "a data URI of a picture is data:image/jpeg;base64,…", code="picture")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = "this is neither base64, nor a data URI, nor an http(s) address"
        raise ApiError(422, message, code="picture") from error


class Term(BaseModel):
    """A part of a query: a text or a picture, and its weight (negative: away from it)."""

    text: str | None = None
    picture: Picture | None = None
    weight: float = Field(1.0, ge=-1e6, le=1e6, allow_inf_nan=False)
