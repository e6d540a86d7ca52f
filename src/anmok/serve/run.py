"""A service as a process: uvicorn in front of the app, stopped gently."""

from __future__ import annotations

import logging
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn

from anmok.errors import SettingsError
from anmok.serve.app import create_app
from anmok.serve.connections import at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    from anmok.serve.settings import ServiceSettings

__all__ = ["run", "server_config"]

GRACE_S = 30  # for requests that were accepted, when it is stopped
IDLE_S = 75  # that a connection without a request is kept
BACKLOG = 512


def run(settings: ServiceSettings, *, started: Callable[[str], None] = lambda address: None) -> None:
    """Serve until a signal comes; what was accepted is finished first.

    Args:
        settings: of the service.
        started: told the address once it answers.

    Raises:
        SettingsError: the address is taken, or cannot be listened on.
        AnmokError: it cannot start; says why.
    """
    listening = _listen(settings)
    app = create_app(settings)
    config = server_config(app, settings)
    server = _Server(config, lambda: started(_address(settings.host, listening)), app.state.service.stopping)
    service = app.state.service
    with _quietly(lambda: service.failed is not None), listening:
        try:
            server.run(sockets=[listening])
        except SystemExit:
            if service.failed is None:
                raise
    if service.failed is not None:
        raise service.failed


def server_config(app: FastAPI, settings: ServiceSettings, *, grace_s: int = GRACE_S) -> uvicorn.Config:
    """How uvicorn serves the app; `grace_s`: seconds for requests that were accepted, when it is stopped."""
    return uvicorn.Config(
        app,
        http=at_most(settings.connections),
        ws="none",
        log_config=None,
        access_log=False,  # the door logs
        server_header=False,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=grace_s,
        h11_max_incomplete_event_size=64 << 10,
    )


@contextmanager
def _quietly(failed: Callable[[], bool]) -> Iterator[None]:
    """Keep uvicorn from raising anew the signal that stopped it, and from telling at length why nothing started."""
    kept = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    told = logging.getLogger("uvicorn.error")

    def passes(_: logging.LogRecord) -> bool:
        return not failed()

    told.addFilter(passes)
    try:
        yield
    finally:
        told.removeFilter(passes)
        for number, handler in kept.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    """Tells when it answers, and when it is about to stop."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell, self._stopping = started, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()  # before it waits for what streams
        await super().shutdown(sockets=sockets)


def _listen(settings: ServiceSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is said: without it, each answer waits 40 ms for the client's ACK
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        where = f"{settings.host}, port {settings.port}"
        raise SettingsError(f"cannot listen on {where}: {error.strerror or error}; give another --port") from error
    return listening


def _address(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"
