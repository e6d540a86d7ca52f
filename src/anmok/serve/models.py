"""The models of a service: loaded by name when they are needed, let go when memory is short."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, contextmanager
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
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from anmok.encoder import Encoder
    from anmok.pictures import Prepared
    from anmok.serve.decoders import Decoders
    from anmok.serve.metrics import Metrics
    from anmok.serve.settings import ServiceSettings
    from anmok.serve.tracing import Asked
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
    pictures: Batcher[Asked[Prepared], Row]
    texts: Batcher[Asked[str], Row]
    decoders: Decoders
    metrics: Metrics
    megabytes: float
    stir: Callable[[], None]  # told when it is taken and when it is let go
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
        with self.metrics.stage("decode"):
            answers = await asyncio.gather(*(self._decoded(make, picture) for picture in pictures))
        failed = {i: answer for i, answer in enumerate(answers) if isinstance(answer, PictureError | ApiError)}
        decoded = {i: answer for i, answer in enumerate(answers) if isinstance(answer, list)}
        with self.metrics.stage("encode"):
            prepared = self.metrics.tracing.asked([tuple(arrays[1:]) for arrays in decoded.values()])
            rows = await self.pictures.submit(prepared, client=client)
        sizes = [_size(arrays[0]) for arrays in decoded.values()]
        return self._embeddings(rows, list(decoded)), sizes, failed

    async def encode_texts(self, texts: Sequence[str], *, client: str = "") -> Embeddings:
        """Embeddings [n, d] of texts."""
        with self.metrics.stage("encode"):
            rows = await self.texts.submit(self.metrics.tracing.asked(texts), client=client)
            return self._embeddings(rows, range(len(texts)))

    def _embeddings(self, rows: Sequence[Row], indices: Sequence[int]) -> Embeddings:
        vectors = np.stack(rows) if rows else np.empty((0, self.encoder.dimension), np.float32)
        return Embeddings(vectors, self.encoder.fingerprint, np.array(indices, np.int64))

    @contextmanager
    def held(self) -> Iterator[None]:
        """It stays in memory until the block is left."""
        self.users += 1
        self.stir()
        try:
            yield
        finally:
            self.users -= 1
            self.used = time.monotonic()
            self.stir()

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
        self._added: list[Model] = []
        self._settling = Settling(lambda: [*self._loaded.values(), *self._added])
        self.reading = Reading(settings.sources, lambda: self.loaded)
        self.unloading: Callable[[Model], None] = lambda model: None  # told of each that is let go

    @property
    def names(self) -> tuple[str, ...]:
        """The usual one first."""
        return tuple(self._settings.sources)

    @property
    def loaded(self) -> list[Model]:
        """Those in memory that requests may name."""
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
        with model.held():
            yield model

    def add(self, name: str, encoder: Encoder) -> Model:
        """A model that requests do not name, such as a recogniser's own: it takes its share of the memory like others.

        Whoever added it is told by `unloading` when it has to go, and removes it.
        """
        model = self.of(name, encoder)
        self._make_room(model.megabytes)
        self._added.append(model)
        return model

    def remove(self, model: Model) -> None:
        """Let go of a model that was added."""
        self._added.remove(model)
        model.close()

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
        """Queues in front of an encoder."""
        settings, runs = self._settings, self._metrics.tracing.runs
        encoder.settles = False  # requests do not wait for a measurement

        def pictures(items: list[Prepared]) -> list[Row]:
            return list(encoder.encode_prepared(items).vectors)

        def texts(items: list[str]) -> list[Row]:
            return list(encoder.encode_text(items).vectors)

        how: dict[str, Any] = {
            "size": settings.batch, "window_s": settings.window_ms / 1000, "waiting": settings.waiting
        }  # fmt: skip
        ran = partial(self._metrics.ran, name)
        weights = sum(np.asarray(array).nbytes for array in encoder.checkpoint.weights.values())
        self._settling.begin()
        return Model(
            name,
            encoder,
            Batcher(runs(name, "image", pictures), **how, ran=partial(ran, "image")),
            Batcher(runs(name, "text", texts), **how, ran=partial(ran, "text")),
            self._decoders,
            self._metrics,
            GRAPH_SHARE * weights / 2**20,
            self._settling.stir,
        )

    def _make_room(self, megabytes: float) -> None:
        """Let go of models that nobody uses, the longest unused first, until one more fits."""
        all_of_them = [*self.loaded, *self._added]
        idle = sorted((model for model in all_of_them if not model.users), key=lambda model: model.used)
        room = self._settings.model_mb - megabytes - sum(model.megabytes for model in all_of_them)
        for model in idle:
            if room >= 0:
                return
            self._unload(model)
            room += model.megabytes

    def _unload(self, model: Model) -> None:
        if model in self._added:
            self.unloading(model)
            return
        del self._loaded[model.name]
        self.unloading(model)
        model.close()
