"""Services as processes of their own, bytes on bare sockets, and pictures of noise."""

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

import numpy as np
from PIL import Image


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
            self.end()
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
