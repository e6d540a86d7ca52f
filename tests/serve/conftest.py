"""Real services on real sockets, the tiny model behind them; a browser; jobs whose functions wait for the test."""

from __future__ import annotations

import base64
import io
import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import uvicorn
from PIL import Image, ImageDraw

from anmok import progress
from anmok.checkpoints import save_checkpoint
from anmok.serve.app import create_app
from anmok.serve.jobs import Jobs
from anmok.serve.problems import ApiError
from anmok.serve.run import server_config
from anmok.serve.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    with ExitStack() as started, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANMOK_HOME", str(tmp_path_factory.getbasetemp() / "anmok-home"))  # as for every test

        def start(**wanted: Any) -> Served:
            usual = {"home": tmp_path_factory.mktemp("service"), "models": (f"tiny={tiny_folder}",)}
            usual |= {"precision": "fp32", "decoders": 1, "port": 0}
            return started.enter_context(running(ServiceSettings(**{**usual, **wanted})))

        yield start


@pytest.fixture(scope="module")
def served(serve) -> Served:
    """A service as it is by default: no keys, no addresses of pictures."""
    return serve()


@pytest.fixture(scope="module")
def wider_folder(wider_checkpoint, tmp_path_factory):
    """The wider model on disk, for services that serve two."""
    folder = tmp_path_factory.mktemp("models") / "wider"
    save_checkpoint(wider_checkpoint, folder)
    return folder


@pytest.fixture
def busy_once(monkeypatch):
    """`busy_once(model)` → the calls of its texts; the first one is told that others wait."""

    def make(model):
        submit, calls = model.texts.submit, []

        async def first_busy(items, *, client=""):
            calls.append(items)
            if len(calls) == 1:
                raise ApiError(429, "others wait", retry_after=0.01)
            return await submit(items, client=client)

        monkeypatch.setattr(model.texts, "submit", first_busy)
        return calls

    return make


@contextmanager
def running(settings: ServiceSettings) -> Iterator[Served]:
    """A service in a thread of this process."""
    app = create_app(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(server_config(app, settings, grace_s=5))
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


# --- the web page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail("the tests of the page need Chromium: apt-get install chromium (or put chrome on the PATH)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, service):
    """Open the page: `visit("search?c=shapes")` → the browser's page. Nothing may go elsewhere, nothing may go wrong.

    `refused`: HTTP statuses that the test brings about; the browser writes each to its console.
    """
    contexts = []
    complaints = []

    def open_page(where="search", *, address=None, refused=(), **how):
        how = {"viewport": {"width": 1100, "height": 800}, "locale": "en-US", "reduced_motion": "reduce", **how}
        address = address or service.address
        context = browser.new_context(**how)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(f"{error}"))

        def heard(message):
            expected = "Failed to load resource" in message.text and any(f"{one}" in message.text for one in refused)
            if message.type in ("error", "warning") and not expected:
                complaints.append(message.text)

        def asked(request):
            if urlsplit(request.url).scheme not in ("blob", "data") and not request.url.startswith(address):
                complaints.append(f"the page asked {request.url}")

        page.on("console", heard)
        page.on("request", asked)
        page.goto(f"{address}/#/{where}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints


# --- jobs


@dataclass
class Workshop:
    """A kind of job that begins, and then does what the test says.

    A job's arguments hold a `name`; `end(name)` ends it with a result, or with an error that it raises. Until then it
    reports progress every few milliseconds, `items` of 10.
    """

    began: list[str] = field(default_factory=list)
    ends: dict[str, object] = field(default_factory=dict)
    items: int = 0
    stubborn: set[str] = field(default_factory=set)  # these report nothing
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, arguments, job):
        name = arguments["name"]
        with self.changed:
            self.began.append(name)
            self.changed.notify_all()
        with progress.task("working", 10) as advance:
            told = 0
            while name not in self.ends:
                with self.changed:
                    self.changed.wait(0.005)
                if name not in self.stubborn:
                    advance(self.items - told)
                    told = self.items
        end = self.ends[name]
        if isinstance(end, BaseException):
            raise end
        return end

    def end(self, name, result=None):
        with self.changed:
            self.ends[name] = {"name": name} if result is None else result
            self.changed.notify_all()

    def wait_for(self, name):
        with self.changed:
            assert self.changed.wait_for(lambda: name in self.began, 10), name


@pytest.fixture
def workshop():
    return Workshop()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "service" / "jobs.sqlite"


@pytest.fixture
def open_jobs(path, workshop):
    """Open the jobs, of the kind "work" and others; they are closed at the end."""
    opened = []

    def opening(where=path, workers=1, **kinds):
        opened.append(Jobs(where, {"work": workshop, **kinds}, workers=workers))
        return opened[-1]

    yield opening
    for jobs in opened:
        workshop.stubborn.clear()
        jobs.close()


@pytest.fixture
def jobs(open_jobs):
    return open_jobs()


def until(jobs, id, *states):
    """The job once it has one of the states; `over` without any."""
    deadline = time.monotonic() + 10
    while True:
        job = jobs.get(id)
        if job.state in (states or ("done", "failed", "cancelled")):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.002)


@pytest.fixture(name="until")
def _until():
    return until


@pytest.fixture
def paint():
    """Write so many different pictures into a folder."""

    def painting(folder: Path, count: int, *, seed: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng((seed, number)).integers(0, 255, (6, 6, 3), np.uint8)
            Image.fromarray(pixels).resize((24, 24)).save(folder / f"{number:03}.png")
        return folder

    return painting
