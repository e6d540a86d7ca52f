"""A running service: its settings, and everything that lives as long as it does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anmok.serve.access import Access
from anmok.serve.decoders import Decoders
from anmok.serve.keys import Keys
from anmok.serve.library import Library
from anmok.serve.metrics import Metrics
from anmok.serve.models import Models

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anmok.serve.settings import ServiceSettings

__all__ = ["KEYS", "Service"]

KEYS = "keys.json"


class Service:
    """What routes work with."""

    def __init__(self, settings: ServiceSettings) -> None:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        self.metrics = Metrics()
        self.decoders = Decoders(
            settings.decoder_count,
            seconds=settings.decode_s,
            megabytes=settings.decode_mb,
            pixels=settings.pixels,
        )
        self.models = Models(settings, self.decoders, self.metrics)
        self.library = Library(settings, self.models)
        keys = Keys(settings.home / KEYS)
        self.access = Access(keys, required=settings.keys_required, rate=settings.rate)
        self.fetch: Callable[[str], Awaitable[bytes]] | None = None  # where pictures may be named by address
        self.began = time.time()
        self.ready = False

    async def start(self) -> None:
        """Start the decoders and load the usual model."""
        await self.decoders.start()
        async with self.models.use():
            self.ready = True

    async def stop(self) -> None:
        """Let go of everything, once no request is left."""
        self.ready = False
        self.library.close()
        self.models.close()
        await self.decoders.close()
