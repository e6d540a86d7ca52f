"""Clients of `serve.py`: requests over sockets, as fast as they are answered or at random moments, with their answers
checked."""

from __future__ import annotations

import asyncio
import io
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Load", "Tally", "photographs"]

HEIGHT, WIDTH = 480, 640  # of the pictures, as phones send them to a service


def photographs(count: int) -> list[bytes]:
    """JPEGs of smooth random fields with noise: they cost what photographs cost to decode."""
    dice, made = np.random.default_rng(0), []
    for _ in range(count):
        coarse = dice.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), dtype=np.uint8)
        smooth = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        noisy = np.clip(np.asarray(smooth, int) + dice.integers(-8, 9, (HEIGHT, WIDTH, 3)), 0, 255)
        file = io.BytesIO()
        Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=85)
        made.append(file.getvalue())
    return made


@dataclass
class Tally:
    """Seconds of each answer, and errors, in so many seconds of load."""

    seconds: list[float]
    errors: int = 0
    spent: float = 0.0

    def facts(self, batch: int = 1) -> dict[str, float]:
        """What is told of it, where a request has so many pictures."""
        return {
            "requests_s": len(self.seconds) / self.spent,
            "pictures_s": batch * len(self.seconds) / self.spent,
            "p50_ms": 1000 * float(np.quantile(self.seconds, 0.5)),
            "p99_ms": 1000 * float(np.quantile(self.seconds, 0.99)),
            "errors": self.errors,
        }


class Connection:
    """One client over one socket."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, content: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self.reader is None or self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(content)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))
        return int(head.split(" ", 2)[1]), await self.reader.readexactly(length)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


class Load:
    """Requests to a server, and whether an answer (its body) is right, by the number of its request."""

    def __init__(self, port: int, requests: Sequence[bytes], right: Callable[[int, bytes], bool]) -> None:
        self.port, self.requests, self.right = port, requests, right

    def once(self, request: bytes) -> None:
        """One request, not counted."""
        status, body = asyncio.run(Connection(self.port).ask(request))
        if status >= 300:
            raise SystemExit(f"{status}: {body.decode()}")

    def closed(self, clients: int, seconds: float) -> Tally:
        """Clients that ask again as soon as they are answered."""
        return asyncio.run(self._closed(clients, seconds))

    def open(self, rate: float, seconds: float) -> Tally:
        """Requests at random moments, whatever becomes of the earlier ones; waiting for a connection counts."""
        return asyncio.run(self._open(rate, seconds))

    async def _closed(self, clients: int, seconds: float) -> Tally:
        tally, start = Tally([]), time.perf_counter()

        async def client(first: int) -> None:
            connection, number = Connection(self.port), first
            while time.perf_counter() - start < seconds:
                await self._one(connection, number % len(self.requests), tally)
                number += clients
            connection.close()

        await asyncio.gather(*(client(i) for i in range(clients)))
        tally.spent = time.perf_counter() - start
        return tally

    async def _open(self, rate: float, seconds: float) -> Tally:
        tally, dice, start, tasks = Tally([]), random.Random(0), time.perf_counter(), set()
        idle: list[Connection] = []

        async def ask(number: int) -> None:
            connection = idle.pop() if idle else Connection(self.port)
            await self._one(connection, number, tally)
            idle.append(connection)

        due = start
        while (due := due + dice.expovariate(rate)) - start < seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(ask(dice.randrange(len(self.requests))))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for connection in idle:
            connection.close()
        tally.spent = time.perf_counter() - start
        return tally

    async def _one(self, connection: Connection, number: int, tally: Tally) -> None:
        start = time.perf_counter()
        status, body = await connection.ask(self.requests[number])
        tally.seconds.append(time.perf_counter() - start)
        if status >= 300 or not self.right(number, body):
            tally.errors += 1
