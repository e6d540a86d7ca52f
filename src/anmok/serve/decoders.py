"""Decoding in processes of their own, with a limit of time and memory for each picture.

A picture on which a decoder dies or hangs fails by itself: its decoder is replaced, and the others go on.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anmok.errors import PictureError
from anmok.serve.decoder import LENGTH, arrays_of, frame
from anmok.serve.works import Works

if TYPE_CHECKING:
    from anmok.serve.decoder import Job

__all__ = ["Decoders"]

LONGEST = 256 << 20  # bytes of an answer


class Decoders:
    """A few processes that decode; used from one event loop.

    Args:
        count: processes.
        seconds: for one picture.
        megabytes: of memory for each process.
        pixels: a picture with more is refused before it is decoded.
    """

    def __init__(self, count: int, *, seconds: float, megabytes: int, pixels: int) -> None:
        self._count, self._seconds, self._megabytes, self._pixels = count, seconds, megabytes, pixels
        self._free: asyncio.Queue[_Decoder] = asyncio.Queue()
        self._all: list[_Decoder] = []
        self._works = Works()
        self.lost = 0  # decoders that died or were stopped at a picture

    async def start(self) -> None:
        """Start all of them."""
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["ANMOK_MAX_PIXELS"] = str(self._pixels)
        self._all = [_Decoder(self._megabytes, environment) for _ in range(self._count)]
        await asyncio.gather(*(decoder.start() for decoder in self._all))
        for decoder in self._all:
            self._free.put_nowait(decoder)

    async def run(self, job: Job) -> list[Any]:
        """The arrays that a job makes of its picture.

        Raises:
            PictureError: the picture cannot be used, or took too much.
        """
        decoder = await self._free.get()
        whole = False
        try:
            if decoder.dead:  # ended by the system while it was idle: nothing of this picture
                await decoder.replace()
            answer = await asyncio.wait_for(decoder.ask(pickle.dumps(job)), self._seconds)
            whole = True
            return arrays_of(answer)
        except TimeoutError as error:
            reason = f"takes longer than {self._seconds:g} seconds to decode"
            raise PictureError("picture", reason) from error
        except (OSError, ValueError, EOFError, asyncio.IncompleteReadError, KeyError, TypeError) as error:
            whole = False
            raise PictureError(
                "picture", "the decoder failed on it: it is damaged, or takes too much memory"
            ) from error
        finally:
            if not whole:  # stopped in the middle, also where the client left: what comes back would be of this job
                self.lost += 1
                await asyncio.shield(self._works.begin(self._replace(decoder)))
            else:
                self._free.put_nowait(decoder)

    async def _replace(self, decoder: _Decoder) -> None:
        """A new process, also where nobody waits for it any more: a decoder that is not put back is lost for ever."""
        try:
            with suppress(OSError):  # tried again at the next picture
                await decoder.replace()
        finally:
            self._free.put_nowait(decoder)

    async def close(self) -> None:
        """Stop all of them."""
        await self._works.settle()
        for decoder in self._all:
            await decoder.stop()


class _Decoder:
    """One process, and its replacement when it is lost."""

    def __init__(self, megabytes: int, environment: dict[str, str]) -> None:
        self._command = [sys.executable, "-m", "anmok.serve.decoder", str(megabytes)]
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    @property
    def dead(self) -> bool:
        return self._process is None or self._process.returncode is not None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C is for the service, which lets it finish
        )

    async def ask(self, job: bytes) -> bytes:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise EOFError
        process.stdin.write(frame(job))
        await process.stdin.drain()
        length = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))[0]
        if length > LONGEST:
            raise ValueError(f"an answer of {length} bytes")
        return await process.stdout.readexactly(length)

    async def replace(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None
