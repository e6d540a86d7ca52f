"""Real services on real sockets: uvicorn in a thread, the tiny model behind it."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from PIL import Image, ImageDraw

from anmok.serve.app import create_app
from anmok.serve.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anmok.serve.service import Service

START_S = 60


@dataclass(frozen=True)
class Served:
    """A service that runs. `address`: such as http://127.0.0.1:40123, without a slash at the end."""

    address: str
    service: Service

    @property
    def settings(self) -> ServiceSettings:
        return self.service.settings

    def key(self, name: str, *scopes: str) -> str:
        """A new key of this service."""
        return self.service.access.keys.add(name, scopes or ("read",))[0]


@pytest.fixture(scope="module")
def serve(tiny_folder, tmp_path_factory):
    """Start services that run until the module's tests are done: `serve(keys=True, rate=60)` → Served.

    Any field of ServiceSettings can be given. Unless it is: a home of its own, the tiny model under the name "tiny",
    one decoder, a port that is free.
    """
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANMOK_HOME", str(tmp_path_factory.getbasetemp() / "anmok-home"))  # as for every test

        def start(**wanted: Any) -> Served:
            usual = {"home": tmp_path_factory.mktemp("service"), "models": (f"tiny={tiny_folder}",)}
            usual |= {"precision": "fp32", "decoders": 1, "port": 0}
            return running.enter_context(_running(ServiceSettings(**{**usual, **wanted})))

        yield start


@pytest.fixture(scope="module")
def served(serve) -> Served:
    """A service as it is by default: no keys, no addresses of pictures."""
    return serve()


@contextmanager
def _running(settings: ServiceSettings) -> Iterator[Served]:
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="anmok-served")
        thread.start()
        try:
            until = time.monotonic() + START_S
            while not server.started and thread.is_alive() and time.monotonic() < until:
                time.sleep(0.01)
            assert server.started, "the service did not start"
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.service)
        finally:
            server.should_exit = True
            thread.join(START_S)


def draw(color: str, size: tuple[int, int] = (80, 60), kind: str = "PNG") -> bytes:
    """The file of a picture of something round on a coloured ground."""
    picture = Image.new("RGB", size, color)
    ImageDraw.Draw(picture).ellipse((10, 10, 50, 50), fill="white")
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@pytest.fixture(scope="session")
def drawn():
    """`drawn("red")` → the bytes of a picture file."""
    return draw


@pytest.fixture(scope="session")
def uri():
    """`uri(content)` → a data URI."""
    return data_uri
