"""What goes wrong, as clients see it: one shape for all, no paths of the server, no traces."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from anmok.errors import (
    AnmokError,
    FingerprintMismatch,
    JobConflict,
    JobError,
    PictureError,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    UnknownJob,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

__all__ = ["CODES", "ApiError", "answer", "api_answer", "error_body", "handle_problems", "item_error", "told"]

log = logging.getLogger("anmok.serve")

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "bad_request",
    429: "busy",
    500: "internal",
    503: "unavailable",
    504: "timeout",
    507: "disk_full",
}
SHOWN = 5  # problems of one request that are named


class ApiError(Exception):
    """An answer other than what was asked for.

    `status`: of HTTP. `message`: for people. `code`: for programs; that of the status unless given. `param`: the field
    that is wrong. `retry_after`: seconds, where it is worth trying again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.retry_after = status, message, param, retry_after
        self.code = code or CODES[status]


def error_body(code: str, message: str, *, status: int, param: str | None = None) -> dict[str, Any]:
    """The body of every error, in the shape that OpenAI's clients read too."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"code": code, "message": message, "type": kind, "param": param}}


def item_error(error: AnmokError | ApiError) -> dict[str, str]:
    """The error of one item in a batch."""
    if isinstance(error, PictureError):
        return {"code": "picture", "message": error.reason}
    if isinstance(error, ApiError):
        return {"code": error.code, "message": error.message}
    return {"code": "bad_request", "message": str(error)}


def answer(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None, *, param: str | None = None
) -> JSONResponse:
    """An error as a response."""
    message = message.encode("utf-8", "replace").decode()  # half characters of a request are none in an answer
    body = error_body(code, message, status=status, param=param)
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))


def api_answer(error: ApiError, more: Mapping[str, str] | None = None) -> JSONResponse:
    """An ApiError as a response; `more`: headers."""
    headers = dict(more or {})
    headers |= {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(error.status, error.code, error.message, headers, param=error.param)


def handle_problems(app: FastAPI) -> None:
    """Give every kind of exception its answer."""

    @app.exception_handler(ApiError)
    async def _api(_: Request, error: ApiError) -> JSONResponse:
        return api_answer(error)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        if isinstance(refused := error.__cause__, ApiError):
            return api_answer(refused, error.headers)
        return answer(error.status_code, CODES.get(error.status_code, "error"), str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return answer(422, "bad_request", told(error.errors()))

    @app.exception_handler(AnmokError)
    async def _anmok(request: Request, error: AnmokError) -> JSONResponse:
        if isinstance(error, UnknownJob):
            return answer(404, "not_found", str(error))
        if isinstance(error, JobConflict):
            return answer(409, "conflict", str(error))
        if isinstance(error, JobError):
            reason = request.app.state.service.without_paths(str(error))
            return answer(503, "unavailable", reason, {"Retry-After": "10"})
        if isinstance(error, StoreBusy):
            return answer(503, "unavailable", "another process is writing: try again", {"Retry-After": "1"})
        if isinstance(error, StoreDamaged | StoreFull):
            raise error  # nothing of the client's: the door answers
        if isinstance(error, FingerprintMismatch):
            return answer(409, "conflict", "this was made with another model than the one asked for")
        return answer(422, "bad_request", request.app.state.service.without_paths(_reason(error)))


def _reason(error: AnmokError) -> str:
    return error.reason if isinstance(error, PictureError) else str(error)


def told(errors: Any) -> str:
    """What pydantic found, in a line."""
    lines = []
    if errors and errors[0]["type"] == "json_invalid":
        place = "".join(f", from character {part} on" for part in errors[0]["loc"] if part != "body")
        return f"this is not JSON{place}: {errors[0]['ctx']['error']}"
    for one in errors[:SHOWN]:
        where = ".".join(str(part) for part in one["loc"] if part != "body") or "the body"
        lines.append(f"{where}: {one['msg']}")
    more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
    return "; ".join(lines) + more
