"""A running service: its settings, and everything that lives as long as it does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from anmok.serve.access import Access
from anmok.serve.decoders import Decoders
from anmok.serve.fetch import Fetcher
from anmok.serve.job_kinds import job_kinds
from anmok.serve.jobs import Jobs
from anmok.serve.keys import Keys
from anmok.serve.library import Library
from anmok.serve.metrics import Metrics
from anmok.serve.models import Models
from anmok.serve.problems import ApiError
from anmok.serve.tracing import tracing_of_environment
from anmok.serve.works import Works

if TYPE_CHECKING:
    from anmok.serve.settings import ServiceSettings

__all__ = ["KEYS", "Service"]

KEYS, JOBS = "keys.json", "jobs.sqlite"
FETCHES = 16  # pictures that are fetched from elsewhere at a time


class Service:
    """What routes work with."""

    def __init__(self, settings: ServiceSettings) -> None:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        self.metrics = Metrics(tracing_of_environment())
        self.decoders = Decoders(
            settings.decoder_count,
            seconds=settings.decode_s,
            megabytes=settings.decode_mb,
            pixels=settings.pixels,
        )
        self.works = Works()
        self.models = Models(settings, self.decoders, self.metrics, self.works)
        self.library = Library(settings, self.models, self.works)
        keys = Keys(settings.home / KEYS)
        self.access = Access(keys, required=settings.keys_required, rate=settings.rate)
        self.fetch = self._fetch if settings.allow_urls else None
        self._fetcher = Fetcher(settings.picture_bytes, settings.fetch_s)
        self._fetches = asyncio.Semaphore(FETCHES)
        self._jobs: Jobs | None = None
        self._places = [
            *((str(root.resolve()), root.name) for root in settings.roots),
            *((source, name) for name, source in settings.sources.items()),
            *((f"{home}/", "") for home in (settings.home.resolve(), settings.home)),
        ]
        self.failed: BaseException | None = None  # why it did not start
        self.began = time.time()
        self.ready = False

    @property
    def jobs(self) -> Jobs:
        """The long jobs, once it has started."""
        assert self._jobs is not None
        return self._jobs

    async def start(self) -> None:
        """Start the decoders and load the usual model.

        Raises:
            AnmokError: the model cannot be loaded, or another process serves the same folder; nothing is left running.
        """
        try:
            await self.decoders.start()
            kinds = job_kinds(self.library, asyncio.get_running_loop())
            self._jobs = await asyncio.to_thread(Jobs, self.settings.home / JOBS, kinds)
            async with self.models.use():
                self.ready = True
        except BaseException as error:
            self.failed = error.__cause__ if isinstance(error, ApiError) else error
            await self.stop()
            raise self.failed or error from None

    def stopping(self) -> None:
        """No more requests come; what streams for ever ends now."""
        self.ready = False
        if self._jobs is not None:
            self._jobs.dismiss_watchers()

    async def stop(self) -> None:
        """Let go of everything, once no request is left."""
        self.stopping()
        await self.works.settle()
        if self._jobs is not None:
            await asyncio.to_thread(self._jobs.close)
        self.library.close()
        self.models.close()
        await self.decoders.close()
        await asyncio.to_thread(self.metrics.tracing.close)

    def without_paths(self, text: str) -> str:
        """A message for clients: where things lie on this machine is taken out of it."""
        for path, name in self._places:
            text = text.replace(path, name)
        return text

    async def _fetch(self, url: str) -> bytes:
        async with self._fetches:
            return await self._fetcher.fetch(url)
