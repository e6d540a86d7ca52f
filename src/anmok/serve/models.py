"""The models of a service: loaded by name when they are needed, let go when memory is short."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.embeddings import Embeddings
from anmok.errors import AnmokError, PictureError, did_you_mean
from anmok.loading import load
from anmok.serve.batching import Batcher
from anmok.serve.decoder import Measured
from anmok.serve.problems import ApiError
from anmok.serve.reading import Reading
from anmok.serve.settling import TOWERS, Settling
from anmok.settings import settings as usual_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from numpy.typing import NDArray

    from anmok.encoder import Encoder
    from anmok.pictures import Prepared
    from anmok.serve.decoders import Decoders
    from anmok.serve.metrics import Metrics
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.works import Works

    Row = NDArray[np.float32]
    Size = tuple[int | None, int | None]  # width, height; None where they cannot be told

__all__ = ["Model", "Models"]

log = logging.getLogger("anmok.serve")

GRAPH_SHARE = 1.5  # memory of a loaded model, by the size of its weights


@dataclass(eq=False)
class Model:
    """A loaded model and the queues in front of its towers."""

    name: str
    encoder: Encoder
    pictures: Batcher[Prepared, Row]
    texts: Batcher[str, Row]
    decoders: Decoders
    metrics: Metrics
    megabytes: float
    used: float = field(default_factory=time.monotonic)
    users: int = 0  # requests and jobs that hold it

    @property
    def busy(self) -> bool:
        """Whether anybody uses it, or waits for it."""
        return bool(self.users or self.pictures.waiting or self.texts.waiting)

    async def encode_pictures(
        self, pictures: Sequence[bytes | ApiError], *, client: str = ""
    ) -> tuple[Embeddings, dict[int, PictureError | ApiError]]:
        """Decode and encode pictures; errors among them are passed on.

        Returns:
            Embeddings of those that could be used, [k, d] (`indices` says which), and what is wrong with the others.
        """
        embeddings, _, failed = await self.encode_measured(pictures, client=client)
        return embeddings, failed

    async def encode_measured(
        self, pictures: Sequence[bytes | ApiError], *, client: str = ""
    ) -> tuple[Embeddings, list[Size], dict[int, PictureError | ApiError]]:
        """As `encode_pictures`, with width and height of each picture that could be used."""
        make = Measured(self.encoder.preparer())
        with self.metrics.stage_s.labels("decode").time():
            answers = await asyncio.gather(*(self._decoded(make, picture) for picture in pictures))
        failed = {i: answer for i, answer in enumerate(answers) if isinstance(answer, PictureError | ApiError)}
        decoded = {i: answer for i, answer in enumerate(answers) if isinstance(answer, list)}
        with self.metrics.stage_s.labels("encode").time():
            rows = await self.pictures.submit([tuple(arrays[1:]) for arrays in decoded.values()], client=client)
        sizes = [_size(arrays[0]) for arrays in decoded.values()]
        return self._embeddings(rows, list(decoded)), sizes, failed

    async def encode_texts(self, texts: Sequence[str], *, client: str = "") -> Embeddings:
        """Embeddings [n, d] of texts."""
        with self.metrics.stage_s.labels("encode").time():
            return self._embeddings(await self.texts.submit(texts, client=client), range(len(texts)))

    def _embeddings(self, rows: Sequence[Row], indices: Sequence[int]) -> Embeddings:
        vectors = np.stack(rows) if rows else np.empty((0, self.encoder.dimension), np.float32)
        return Embeddings(vectors, self.encoder.fingerprint, np.array(indices, np.int64))

    def close(self) -> None:
        """Stop the queues."""
        self.pictures.close()
        self.texts.close()

    async def _decoded(self, make: Measured, picture: bytes | ApiError) -> list[Any] | PictureError | ApiError:
        if isinstance(picture, ApiError):
            return picture
        try:
            return await self.decoders.run((make, picture))
        except PictureError as error:
            return error


def _size(size: NDArray[np.int64]) -> Size:
    width, height = int(size[0]), int(size[1])
    return (width, height) if width and height else (None, None)


def _loaded(source: str, precision: str) -> Encoder:
    encoder = load(source, precision=precision)
    if (precision if precision != "auto" else usual_settings().precision) not in ("auto", "fp32"):
        for tower in TOWERS:
            encoder.choice(tower)  # a precision that is asked for is judged now, not in the first request
    return encoder


class Models:
    """All models that requests may name; used from one event loop."""

    def __init__(self, settings: ServiceSettings, decoders: Decoders, metrics: Metrics, works: Works) -> None:
        self._settings, self._decoders, self._metrics, self._works = settings, decoders, metrics, works
        self._loaded: dict[str, Model] = {}
        self._loading: dict[str, asyncio.Task[Model]] = {}
        self._made: weakref.WeakSet[Model] = weakref.WeakSet()  # also those that belong to recognisers
        self._settling = Settling(lambda: self._made)
        self.reading = Reading(settings.sources, lambda: self.loaded)
        self.unloading: Callable[[Model], None] = lambda model: None  # told of each that is let go

    @property
    def names(self) -> tuple[str, ...]:
        """The usual one first."""
        return tuple(self._settings.sources)

    @property
    def loaded(self) -> list[Model]:
        """Those in memory."""
        return list(self._loaded.values())

    @asynccontextmanager
    async def use(self, name: str | None = None) -> AsyncIterator[Model]:
        """A model, loaded if need be; it stays until the block is left.

        Raises:
            ApiError: there is no such model (404), or it cannot be loaded (503).
        """
        model = await self._get(name or self.names[0])
        while self._loaded.get(model.name) is not model:  # let go again before it was used
            model = await self._get(model.name)
        model.users += 1
        self._settling.stir()
        try:
            yield model
        finally:
            model.users -= 1
            model.used = time.monotonic()
            self._settling.stir()

    def close(self) -> None:
        """Let go of all of them."""
        self._settling.close()
        for model in self.loaded:
            self._unload(model)

    async def _get(self, name: str) -> Model:
        if name not in self.names:
            near = did_you_mean(name, self.names)
            message = f"there is no model {name!r} here.{near} Those served are: {', '.join(self.names)}"
            raise ApiError(404, message, code="model_not_found")
        if name in self._loaded:
            return self._loaded[name]
        if name not in self._loading:  # once for all that ask, and to its end, though they may leave
            self._loading[name] = self._works.begin(self._load(name))
        return await asyncio.shield(self._loading[name])

    async def _load(self, name: str) -> Model:
        source = self._settings.sources[name]
        try:
            model = self.of(name, await asyncio.to_thread(_loaded, source, self._settings.precision))
            self._make_room(model.megabytes)
            self._loaded[name] = model
        except (AnmokError, OSError) as error:
            log.error("the model %s cannot be loaded: %s", name, error)
            raise ApiError(503, f"the model {name!r} cannot be loaded: the service's log says why") from error
        finally:
            del self._loading[name]
        return model

    def of(self, name: str, encoder: Encoder) -> Model:
        """Queues in front of an encoder. The caller closes it; it is not among those that requests may name."""
        settings, metrics = self._settings, self._metrics
        encoder.settles = False  # requests do not wait for a measurement

        def pictures(items: list[Prepared]) -> list[Row]:
            self._settling.stir()
            return list(encoder.encode_prepared(items).vectors)

        def texts(items: list[str]) -> list[Row]:
            self._settling.stir()
            return list(encoder.encode_text(items).vectors)

        how: dict[str, Any] = {
            "size": settings.batch, "window_s": settings.window_ms / 1000, "waiting": settings.waiting
        }  # fmt: skip

        def ran(tower: str, items: int, seconds: float) -> None:
            metrics.ran(name, tower, items, seconds)
            self._settling.stir()

        weights = sum(np.asarray(array).nbytes for array in encoder.checkpoint.weights.values())
        model = Model(
            name,
            encoder,
            Batcher(pictures, **how, ran=partial(ran, "image")),
            Batcher(texts, **how, ran=partial(ran, "text")),
            self._decoders,
            metrics,
            GRAPH_SHARE * weights / 2**20,
        )
        self._made.add(model)
        self._settling.begin()
        return model

    def _make_room(self, megabytes: float) -> None:
        """Let go of models that nobody uses, the longest unused first, until one more fits."""
        idle = sorted((model for model in self.loaded if not model.users), key=lambda model: model.used)
        for model in idle:
            if sum(one.megabytes for one in self.loaded) + megabytes <= self._settings.model_mb:
                return
            self._unload(model)

    def _unload(self, model: Model) -> None:
        del self._loaded[model.name]
        self.unloading(model)
        model.close()
