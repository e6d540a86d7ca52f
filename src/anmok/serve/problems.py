"""What goes wrong, as clients see it: one shape for all, no paths of the server, no traces."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import Request

from anmok.errors import (
    AnmokError,
    FingerprintMismatch,
    JobConflict,
    JobError,
    PictureError,
    StoreBusy,
    StoreDamaged,
    UnknownJob,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CODES", "ApiError", "Caught", "answer", "api_answer", "error_body", "handle_problems", "item_error"]

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
}
SHOWN = 5  # problems of one request that are named


class ApiError(Exception):
    """An answer other than what was asked for.

    `status`: of HTTP. `message`: for people. `code`: for programs; that of the status unless given. `retry_after`:
    seconds, where it is worth trying again.
    """

    def __init__(self, status: int, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after
        self.code = code or CODES[status]


def error_body(code: str, message: str, *, status: int) -> dict[str, Any]:
    """The body of every error, in the shape that OpenAI's clients read too."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"code": code, "message": message, "type": kind, "param": None}}


def item_error(error: AnmokError | ApiError) -> dict[str, str]:
    """The error of one item in a batch."""
    if isinstance(error, PictureError):
        return {"code": "picture", "message": error.reason}
    if isinstance(error, ApiError):
        return {"code": error.code, "message": error.message}
    return {"code": "bad_request", "message": str(error)}


def answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    message = message.encode("utf-8", "replace").decode()  # half characters of a request are none in an answer
    return JSONResponse(error_body(code, message, status=status), status_code=status, headers=dict(headers or {}))


def api_answer(error: ApiError) -> JSONResponse:
    """An ApiError as a response."""
    headers = {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return answer(error.status, error.code, error.message, headers)


def handle_problems(app: FastAPI) -> None:
    """Give every kind of exception its answer."""

    @app.exception_handler(ApiError)
    async def _api(_: Request, error: ApiError) -> JSONResponse:
        return api_answer(error)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
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
            return answer(503, "unavailable", str(error), {"Retry-After": "10"})
        if isinstance(error, StoreBusy):
            return answer(503, "unavailable", "another process is writing: try again", {"Retry-After": "1"})
        if isinstance(error, StoreDamaged | OSError):
            return _internal(request, error)
        if isinstance(error, FingerprintMismatch):
            return answer(409, "conflict", "this was made with another model than the one asked for")
        return answer(422, "bad_request", request.app.state.service.without_paths(_reason(error)))


class Caught:
    """ASGI middleware, the innermost: what no handler knows becomes an answer that goes out through all the others.

    A handler of Exception stands outside of all: its answers would have no number, and nobody would count them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        begun = False

        async def sent(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sent)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await _internal(Request(scope), error)(scope, receive, send)


def _reason(error: AnmokError) -> str:
    return error.reason if isinstance(error, PictureError) else str(error)


def told(errors: Any) -> str:
    """What pydantic found, in a line."""
    lines = []
    if errors and errors[0]["type"] == "json_invalid":
        return f"the body is not JSON, from character {errors[0]['loc'][-1]} on: {errors[0]['ctx']['error']}"
    for one in errors[:SHOWN]:
        where = ".".join(str(part) for part in one["loc"] if part != "body") or "the body"
        lines.append(f"{where}: {one['msg']}")
    more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
    return "; ".join(lines) + more


def _internal(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %r failed", request.method, request.scope["path"], exc_info=error)
    number = request.scope.get("request_id", "")
    return answer(500, "internal", f"something went wrong here, not with you. The log has more, under {number}")
