"""The service under load, beside a plain FastAPI and transformers server: same model, same pictures, one run.

    python benchmarks/serve.py load [--model ViT-B-32 | --model FOLDER] [--clients 1 2 4 8 16 32 64] [--seconds 8]
    python benchmarks/serve.py steady [--share 0.7] [--seconds 30]
    python benchmarks/serve.py soak [--minutes 30] [--clients 8]

`load`: so many clients ask again as soon as they are answered, with one picture or with 8 in a request; servers take
turns. Requests a second, p50 and p99 of the seconds that a client waits. How much of it is the encoder: what each
server's own encoder does alone, in this process, one picture at a time, decoding included; the factor that is left is
what batching, decoding and queueing add or cost.
`steady`: requests come at random (Poisson) at a share of what the service can do at most, as users do; p50 and p99.
`soak`: minutes of mixed requests; errors, and the memory of the service and its decoders, every ten seconds.

Every answer of anmok's is compared with what the encoder gives offline (fp32): a wrong one is counted as an error.
The load comes from this process, over sockets of its own; it takes its share of the same two cores, for all servers
alike. ViT-B-32 has random weights, which cost the same.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

import numpy as np
from encode import random_checkpoint
from PIL import Image
from timing import keep, machine, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
PICTURES = 32  # different ones
HEIGHT, WIDTH = 480, 640  # of the pictures, as phones send them to a service
NEAR = 1e-3  # largest difference of a component that still counts as the same embedding
BOUNDARY = "anmok-bench"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "steady", "soak"))
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="pictures in a request")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--keep", action="store_true", help="write docs/benchmarks/serve_….json")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if not Path(model).is_dir():
            random_checkpoint(model, Path(folder))
            model = Path(folder) / "hf"
        facts = {"load": load, "steady": steady, "soak": soak}[options.what](options, str(model), Path(folder))
    if options.keep:
        keep(f"serve_{options.what}", facts)


# --- what is asked


def pictures() -> list[bytes]:
    """JPEGs of smooth random fields: they cost what photographs cost to decode."""
    dice, made = np.random.default_rng(0), []
    for _ in range(PICTURES):
        coarse = dice.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(smooth, int) + dice.integers(-8, 9, (HEIGHT, WIDTH, 3)), 0, 255)
        file = io.BytesIO()
        Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


def request(path: str, files: list[bytes]) -> bytes:
    parts = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="pictures"; filename="{i}.jpg"\r\n'
        f"Content-Type: image/jpeg\r\n\r\n".encode()
        + content
        + b"\r\n"
        for i, content in enumerate(files)
    )
    if path == "/v1/embed":
        parts += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="encoding"\r\n\r\nbase64\r\n'.encode()
    body = parts + f"--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Tally:
    """Seconds of each answer, and errors."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0

    def facts(self, spent: float, batch: int) -> dict[str, float]:
        return {
            "requests_s": len(self.seconds) / spent,
            "pictures_s": batch * len(self.seconds) / spent,
            "p50_ms": 1000 * quantile(self.seconds, 0.5),
            "p99_ms": 1000 * quantile(self.seconds, 0.99),
            "errors": self.errors,
        }


def quantile(values: list[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")


class Connection:
    """One client over one socket."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, content: bytes) -> tuple[int, bytes]:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(content)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))
        return int(head.split(" ", 2)[1]), await self.reader.readexactly(length)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


# --- the servers


class Server:
    """A server as a process of its own."""

    def __init__(self, name: str, command: list[str], path: str, port: int) -> None:
        self.name, self.path, self.port = name, path, port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"{name} does not start: {' '.join(command)}")

    def memory_mb(self) -> float:
        """Of the process and those that it started (resident; what they share counts for each)."""
        import psutil

        process = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / 2**20

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def anmok_server(model: str, folder: Path) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "anmok", "serve", "--home", str(folder / "home"), "--port", str(port)]
    command += ["--model", f"bench={model}", "--precision", "fp32", "--waiting", "4096"]
    return Server("anmok serve", command, "/v1/embed", port)


def plain_server(model: str) -> Server:
    port = free_port()
    return Server("plain", [sys.executable, str(HERE / "plain_server.py"), model, str(port)], "/embed", port)


# --- the load


class Load:
    """Requests of so many pictures each, and what the right answers are."""

    def __init__(self, model: str, batch: int, server: Server) -> None:
        import anmok

        files = pictures()
        self.groups = [[(i + k) % PICTURES for k in range(batch)] for i in range(PICTURES)]
        self.requests = [request(server.path, [files[i] for i in group]) for group in self.groups]
        expected = anmok.load(model, precision="fp32").encode_image(files).vectors
        self.expected = [expected[group] for group in self.groups]
        self.server = server

    async def one(self, connection: Connection, number: int, tally: Tally) -> None:
        start = time.perf_counter()
        status, body = await connection.ask(self.requests[number])
        tally.seconds.append(time.perf_counter() - start)
        if status != 200 or not self.right(number, json.loads(body)):
            tally.errors += 1

    def right(self, number: int, answer: dict) -> bool:
        texts = answer.get("embeddings") or [one["embedding"] for one in answer["results"]]
        found = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in texts])
        return bool(np.abs(found - self.expected[number]).max() < NEAR)

    async def closed(self, clients: int, seconds: float) -> tuple[Tally, float]:
        """Clients that ask again as soon as they are answered."""
        tally, start = Tally(), time.perf_counter()

        async def client(first: int) -> None:
            connection, number = Connection(self.server.port), first
            while time.perf_counter() - start < seconds:
                await self.one(connection, number % PICTURES, tally)
                number += clients
            connection.close()

        await asyncio.gather(*(client(i) for i in range(clients)))
        return tally, time.perf_counter() - start

    async def open(self, rate: float, seconds: float) -> tuple[Tally, float]:
        """Requests at random moments, whatever becomes of the earlier ones; waiting for a connection counts."""
        tally, dice, start, tasks = Tally(), random.Random(0), time.perf_counter(), set()
        idle: list[Connection] = []

        async def ask(number: int) -> None:
            connection = idle.pop() if idle else Connection(self.server.port)
            await self.one(connection, number, tally)
            idle.append(connection)

        due = start
        while (due := due + dice.expovariate(rate)) - start < seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(ask(dice.randrange(PICTURES)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for connection in idle:
            connection.close()
        return tally, time.perf_counter() - start


def load(options: argparse.Namespace, model: str, folder: Path) -> dict:
    alone = encoders_alone(model)
    print(f"encoders alone, a picture at a time: {alone}", flush=True)
    servers = [anmok_server(model, folder), plain_server(model)]
    rows = []
    for batch in options.batches:
        loads = {server.name: Load(model, batch, server) for server in servers}
        for clients in options.clients:
            found: dict[str, list[dict[str, float]]] = {}
            for _ in range(options.rounds):
                for name, one in loads.items():
                    asyncio.run(one.closed(clients, 1.0))  # warm
                    tally, spent = asyncio.run(one.closed(clients, options.seconds))
                    found.setdefault(name, []).append(tally.facts(spent, batch))
            for name, runs in found.items():
                row = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                row["errors"] = sum(run["errors"] for run in runs)
                rows.append({"server": name, "pictures": batch, "clients": clients, **row})
                print(
                    f"{name}, {batch} a request, {clients} clients: {row['pictures_s']:.1f} pictures/s, "
                    f"p50 {row['p50_ms']:.0f} ms, p99 {row['p99_ms']:.0f} ms, {row['errors']:.0f} errors",
                    flush=True,
                )
    for server in servers:
        server.stop()
    return {"alone": alone, "rows": rows}


def encoders_alone(model: str) -> dict[str, float]:
    """Pictures a second of each server's encoder, one at a time, decoding included; without HTTP, without company."""
    import torch
    from references import declare_operators

    import anmok

    declare_operators()
    from transformers import AutoModel, AutoProcessor

    files, encoder = pictures(), anmok.load(model, precision="fp32")
    theirs, processor = AutoModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)

    def ours_one(content: bytes) -> None:
        encoder.encode_image(content)

    def theirs_one(content: bytes) -> None:
        inputs = processor(images=[Image.open(io.BytesIO(content)).convert("RGB")], return_tensors="pt")
        with torch.no_grad():
            theirs.get_image_features(**inputs)

    candidates = {"anmok serve": partial(_each, ours_one, files), "plain": partial(_each, theirs_one, files)}
    return {name: len(files) / timing.median for name, timing in take_turns(candidates, rounds=3).items()}


def _each(run: Callable[[bytes], None], files: list[bytes]) -> None:
    for content in files:
        run(content)


def steady(options: argparse.Namespace, model: str, folder: Path) -> dict:
    server, rows = anmok_server(model, folder), []
    for batch in options.batches:
        one = Load(model, batch, server)
        tally, spent = asyncio.run(one.closed(32, options.seconds))
        most = tally.facts(spent, batch)["requests_s"]
        tally, spent = asyncio.run(one.open(options.share * most, options.seconds))
        row = {"pictures": batch, "most_s": most, "share": options.share, **tally.facts(spent, batch)}
        rows.append(row)
        print(
            f"{batch} a request, {row['requests_s']:.1f} requests/s of {most:.1f}: p50 {row['p50_ms']:.0f} ms, "
            f"p99 {row['p99_ms']:.0f} ms ({row['p99_ms'] / row['p50_ms']:.1f} times), {row['errors']} errors",
            flush=True,
        )
    server.stop()
    return {"rows": rows}


def soak(options: argparse.Namespace, model: str, folder: Path) -> dict:
    server = anmok_server(model, folder)
    one = Load(model, 1, server)
    tally, start, memory = Tally(), time.perf_counter(), []
    while time.perf_counter() - start < 60 * options.minutes:
        part, _ = asyncio.run(one.closed(options.clients[0], 10))
        tally.seconds += part.seconds
        tally.errors += part.errors
        memory.append((time.perf_counter() - start, server.memory_mb()))
    half = memory[len(memory) // 2 :]
    facts = tally.facts(time.perf_counter() - start, 1)
    facts |= {"minutes": options.minutes, "memory_mb": memory, "first_mb": memory[0][1], "last_mb": memory[-1][1]}
    if len(half) > 1:
        facts["growth_mb_an_hour"] = 3600 * float(np.polyfit(*zip(*half, strict=True), 1)[0])
    print({key: value for key, value in facts.items() if key != "memory_mb"})
    print(f"exit {server.stop()} when told to stop; load {os.getloadavg()[0]:.1f}")
    return facts


if __name__ == "__main__":
    main()
