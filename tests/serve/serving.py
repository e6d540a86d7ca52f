"""Real services for tests: in a thread of this process, or as a process of its own, and what is sent to them."""

from __future__ import annotations

import base64
import io
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np
import uvicorn
from PIL import Image

from anmok.serve.app import create_app
from anmok.serve.keys import Keys
from anmok.serve.service import KEYS
from anmok.serve.settings import ServiceSettings


@dataclass
class Served:
    """A service that runs, and a client of it."""

    url: str
    port: int
    app: Any
    client: httpx2.Client

    @property
    def service(self):
        return self.app.state.service

    def raw(self, *parts, pause=0.0, until_closed=True, timeout=20):
        """What comes back on a connection of its own for bytes as they are, up to its end."""
        return raw(self.port, *parts, pause=pause, until_closed=until_closed, timeout=timeout)


def settings_for(home, *models, **how) -> ServiceSettings:
    """Small and quick; the models are folders."""
    how = {"precision": "fp32", "decoders": 1, "port": 0} | how
    return ServiceSettings(home=home, models=tuple(str(model) for model in models), **how)


@contextmanager
def running(settings, *, key=None, change=lambda app: None):
    """A service in a thread. `change` is given the app before it starts."""
    app = create_app(settings)
    change(app)
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = listening.getsockname()[1]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), 60)
        assert server.started, "it did not start"
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        url = f"http://127.0.0.1:{port}"
        with httpx2.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            yield Served(url, port, app, client)
    finally:
        server.should_exit = True
        thread.join(60)
        listening.close()
    assert not thread.is_alive()


def new_key(home, name, *scopes, rate=None) -> str:
    """A key of a service."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Keys(home / KEYS).add(name, scopes or ("read",), rate)[0]


def raw(port, *parts, pause=0.0, until_closed=True, timeout=20) -> bytes:
    """What comes back for bytes as they are; each part is sent after a pause."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as channel:
        with suppress(ConnectionError):  # it may answer, and close, before all is sent
            for number, part in enumerate(parts):
                if number and pause:
                    time.sleep(pause)
                channel.sendall(part)
        with suppress(ConnectionError):
            while part := channel.recv(65536):
                answer += part
                if not until_closed and b"\r\n\r\n" in answer:
                    break
    return answer


def status_of(answer: bytes) -> int:
    """Of an answer as it came."""
    return int(answer.split(b" ", 2)[1])


class Process:
    """`python -m anmok serve` as a process of its own."""

    def __init__(self, home, *models, options=()):
        command = [sys.executable, "-m", "anmok", "serve", "--home", str(home), "--port", "0", "--precision", "fp32"]
        command += ["--decoders", "1", *options]
        for model in models:
            command += ["--model", str(model)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.began = time.monotonic()
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
        self.pid = self._process.pid
        self.log: list[str] = []
        self._lines = threading.Thread(target=self._read, daemon=True)
        self._lines.start()
        until(lambda: self.url or self._process.poll() is not None, 60)
        if self.url is None:
            self._lines.join(5)
            raise AssertionError("".join(self.log))

    def _read(self):
        for line in self._process.stdout:
            self.log.append(line.decode())

    @property
    def url(self):
        return next((found.group() for line in self.log if (found := re.search(r"http://[\d.]+:\d+", line))), None)

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self, seconds=60):
        """Its exit code."""
        code = self._process.wait(seconds)
        self._lines.join(5)
        return code

    def end(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(20)
        self._lines.join(5)
        self._process.stdout.close()


@contextmanager
def process(home, *models, options=()):
    """A service as a process, killed at the end."""
    service = Process(home, *models, options=options)
    try:
        yield service
    finally:
        service.end()


def until(condition, seconds=10):
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def picture(seed=0, kind="PNG", side=24, **how) -> bytes:
    """A picture of noise, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((side, side)).save(file, kind, **how)
    return file.getvalue()


def base64_of(content: bytes) -> str:
    """As pictures travel in JSON."""
    return base64.b64encode(content).decode()


def pictures(*seeds) -> list[str]:
    """Several."""
    return [base64_of(picture(seed)) for seed in seeds]
