"""What several routes do: the service, the client, errors of items, answers that OpenAPI tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from fastapi import Depends
from pydantic import BaseModel

from anmok.errors import AnmokError
from anmok.serve.access import client_of, may_write
from anmok.serve.problems import ApiError, error_body, item_error
from anmok.serve.schemas import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from starlette.requests import Request

    from anmok.embeddings import Embeddings
    from anmok.errors import PictureError
    from anmok.serve.models import Model
    from anmok.serve.service import Service

__all__ = [
    "PROBLEMS",
    "WRITES",
    "client",
    "encode",
    "file_address",
    "first_error",
    "listed",
    "problem",
    "service_of",
    "thumbnail_address",
]


Facts = TypeVar("Facts")
WRITES = Depends(may_write)
"""Among the dependencies of every route that changes something."""


class ErrorFacts(BaseModel):
    """What went wrong. `code` is for programs, `message` for people."""

    code: str
    message: str
    type: str
    param: str | None = None


class ErrorAnswer(BaseModel):
    """The body of every error."""

    error: ErrorFacts


def _told(status: int, code: str, text: str) -> dict[str, Any]:
    example = error_body(code, text, status=status)
    return {"model": ErrorAnswer, "description": text, "content": {"application/json": {"example": example}}}


PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: _told(400, "bad_request", "the body cannot be read"),
    401: _told(401, "unauthorized", "a key is needed, or this one is wrong"),
    403: _told(403, "forbidden", "this key may not do this"),
    404: _told(404, "not_found", "there is nothing of this name"),
    409: _told(409, "conflict", "it is there already, or was made with another model"),
    413: _told(413, "too_large", "too many bytes or items"),
    415: _told(415, "unsupported_media_type", "neither JSON nor a form"),
    422: _told(422, "bad_request", "the request cannot be used; the message says why"),
    429: _told(429, "busy", "too many requests: come back after Retry-After seconds"),
    503: _told(503, "unavailable", "not now"),
    504: _told(504, "timeout", "it took too long"),
    507: _told(507, "disk_full", "the disk is full; nothing was kept"),
}
"""Answers that every route may give."""


def service_of(request: Request) -> Service:
    """The service behind a request."""
    service: Service = request.app.state.service
    return service


def client(request: Request) -> str:
    """Who asks, for fairness between clients."""
    return client_of(request).id


async def encode(
    request: Request, model: Model, pictures: list[bytes | ApiError]
) -> tuple[Embeddings, dict[int, Problem]]:
    """Embeddings of the pictures that can be used (`indices` says which), and what is wrong with the others."""
    embeddings, failed = await model.encode_pictures(pictures, client=client(request))
    metrics = service_of(request).metrics
    problems = {i: problem(error) for i, error in failed.items()}
    for one in problems.values():
        metrics.errors.labels(one.code).inc()
    return embeddings, problems


def problem(error: PictureError | ApiError) -> Problem:
    """An error of one item."""
    return Problem(**item_error(error))


async def listed(
    names: Iterable[str], facts: Callable[[str], Awaitable[Facts]]
) -> tuple[list[Facts], dict[str, Problem]]:
    """The facts of each that can be opened, and by name what is wrong with the others."""
    found, errors = [], {}
    for name in names:
        try:
            found.append(await facts(name))
        except ApiError as error:
            errors[name] = problem(error)
        except AnmokError as error:
            errors[name] = Problem(code="unavailable", message=type(error).__name__)
    return found, errors


def thumbnail_address(collection: str, number: str) -> str:
    """Where a small copy of a picture is."""
    return f"/v1/collections/{quote(collection)}/thumbnail?id={quote(number, safe='')}"


def file_address(collection: str, number: str) -> str:
    """Where a picture is as it is."""
    return f"/v1/collections/{quote(collection)}/file?id={quote(number, safe='')}"


def first_error(problems: Mapping[int, Problem]) -> ApiError | None:
    """For routes of a single picture: its problem as the answer."""
    one = next(iter(problems.values()), None)
    return None if one is None else ApiError(422, one.message, code=one.code)
