"""The servers that `serve.py` compares, each as a process of its own, with its way of being asked for embeddings."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

__all__ = ["Server", "anmok_server", "form", "infinity_server", "plain_server", "post"]

HERE = Path(__file__).parent
BOUNDARY = "anmok-bench"
START_S = 180


@dataclass
class Server:
    """A running server."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def request(self, files: Sequence[bytes]) -> bytes:
        """An HTTP request for the embeddings of JPEGs."""
        if self.name == "infinity":
            pictures = [f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" for content in files]
            told = {"model": "bench", "input": pictures, "modality": "image", "encoding_format": "base64"}
            return post("/embeddings", "application/json", json.dumps(told).encode())
        named = [(f"{number}.jpg", content) for number, content in enumerate(files)]
        return form("/v1/embed", named, encoding="base64") if self.name == "anmok" else form("/embed", named)

    def embeddings(self, body: bytes) -> NDArray[np.float32]:
        """Unit vectors [n, d] of an answer."""
        answer = json.loads(body)
        texts = answer.get("embeddings") or [one["embedding"] for one in answer.get("results") or answer["data"]]
        found = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def memory_mb(self) -> float:
        """Of the process and those that it started (resident; what they share counts for each)."""
        import psutil

        process = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20

    def processor_s(self) -> float:
        """Seconds that all of them have worked."""
        import psutil

        process = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))

    def stop(self) -> int:
        """Tell it to stop; its exit status."""
        self.process.terminate()
        return self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def anmok_server(model: str, folder: Path, *, precision: str = "fp32", more: Sequence[str] = ()) -> Server:
    """`anmok serve`, in fp32 as the others are; nothing else is set but that more may wait than the load ever asks."""
    command = [sys.executable, "-m", "anmok", "serve", "--home", str(folder / "home"), "--waiting", "4096"]
    command += ["--model", f"bench={model}", "--precision", precision, *more]
    return _started("anmok", command, "--port", alive="/readyz")


def plain_server(model: str) -> Server:
    """What people write first."""
    return _started("plain", [sys.executable, str(HERE / "plain_server.py"), model], alive="/healthz")


def infinity_server(model: str, program: str) -> Server:
    """infinity (pip install "infinity-emb[server,torch,vision]", in an environment of its own), PyTorch on the CPU."""
    command = [program, "v2", "--model-id", model, "--served-model-name", "bench", "--engine", "torch"]
    return _started("infinity", [*command, "--device", "cpu", "--no-bettertransformer"], "--port", alive="/health")


def _started(name: str, command: list[str], *option: str, alive: str) -> Server:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    command = [*command, *option, str(port)]
    server = Server(name, port, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}{alive}", timeout=5):
                return server
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{name} does not start: {' '.join(command)}")


def form(path: str, files: Sequence[tuple[str, bytes]], *, method: str = "POST", **fields: str) -> bytes:
    """An HTTP request with pictures as files, by name, and other fields."""
    parts = [(f'name="pictures"; filename="{name}"', content) for name, content in files]
    parts += [(f'name="{name}"', value.encode()) for name, value in fields.items()]
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return post(path, kind, body + f"--{BOUNDARY}--\r\n".encode(), method=method)


def post(path: str, kind: str, body: bytes, *, method: str = "POST") -> bytes:
    """An HTTP request with a body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
