"""The encoder: pictures and texts → unit vectors of one space."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anmok import progress
from anmok.embeddings import Embeddings, Failure, unit
from anmok.errors import PictureError, TextError
from anmok.features import Features, joined, unit_places
from anmok.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.checkpoints import Checkpoint
    from anmok.features import Places
    from anmok.pictures import Prepared, Preparer
    from anmok.runtime import Choice
    from anmok.runtime.dense import DenseTower
    from anmok.runtime.trial import Tower

    Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]

__all__ = ["Encoder", "as_list"]

CHUNK = 2048  # texts that are looked at together for beginnings and lengths in common


class Encoder:
    """A checkpoint that encodes. Made by `anmok.load`; safe to share between threads.

    `name`, `fingerprint`, `dimension`: of the checkpoint and its space.
    `logit_scale`, `logit_bias`: logits are `logit_scale * cosine + logit_bias` (bias 0 for CLIP).
    `score`: "softmax" (CLIP) or "sigmoid" (SigLIP), how logits become probabilities.
    `settles`: whether "auto" measures amid long work how to go on; where not, whoever has it calls `settle`.
    """

    def __init__(self, checkpoint: Checkpoint, *, engine: str = "auto", precision: str = "auto") -> None:
        from anmok.runtime import open_towers

        self.checkpoint = checkpoint
        self.settles = True
        self.precision = precision  # as asked for; what is used: `runs`
        if precision == "auto" and engine != "torch" and checkpoint.exports is None:
            self.precision = settings().precision
        self._threads = settings().threads
        self._towers = open_towers(checkpoint, engine=engine, precision=self.precision, threads=self._threads)
        self._dense: DenseTower | None = None  # opened by `features`

    def runs(self, tower: Tower) -> str:
        """Engine and precision of a tower here and now, such as "onnxruntime fp32"."""
        return str(self.choice(tower).way)

    def choice(self, tower: Tower) -> Choice:
        """How a tower runs here and now, with what was measured: its speeds, and how near it stays to float32."""
        return self._towers.choice(tower)

    def settled(self, tower: Tower) -> bool:
        """Whether a tower stays as it runs now; False where "auto" has yet to measure."""
        return self._towers.settled(tower)

    def due(self, tower: Tower) -> bool:
        """Whether a tower has worked long enough that it is worth measuring how it runs best."""
        return self._towers.due(tower)

    def settle(self, tower: Tower, *, measure: bool = True) -> None:
        """Where a tower is due, go on with the best engine and precision; other threads go on meanwhile.

        Args:
            tower: "image" or "text".
            measure: False takes what another process found out, or else leaves it as it runs now. Measuring takes
                tens of seconds.
        """
        self._towers.settle(tower, measure=measure)

    def _worked(self, tower: Tower, seconds: float) -> None:
        self._towers.worked(tower, seconds)
        if self.settles:
            self._towers.settle(tower)

    @property
    def name(self) -> str:
        """Name or folder that the checkpoint was loaded by."""
        return self.checkpoint.name

    @property
    def fingerprint(self) -> str:
        """Of weights, transform and tokenizer; stamped on every embedding."""
        return self.checkpoint.fingerprint

    @property
    def dimension(self) -> int:
        """Of the shared space."""
        return self.checkpoint.spec.dimension

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """How logits become probabilities."""
        return self.checkpoint.spec.score

    @property
    def logit_scale(self) -> float:
        """The factor itself (CLIP stores its logarithm)."""
        return math.exp(float(self.checkpoint.weights["logit_scale"]))

    @property
    def logit_bias(self) -> float:
        """Added to every logit: learned by SigLIP, 0 for CLIP."""
        return float(self.checkpoint.weights["logit_bias"]) if self.checkpoint.spec.logit_bias else 0.0

    def encode_image(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 32,
    ) -> Embeddings:
        """Encode pictures, in order. Equal pictures are encoded once; memory holds two batches at a time.

        Args:
            pictures: a path, bytes, PIL picture or uint8 array [h, w, 3], or a list of them.
            on_error: "raise" stops at the first bad picture; "skip" leaves it out and lists it in `failed`.
            batch_size: pictures per run of the tower.

        Returns:
            Embeddings [n, d]; `indices` says which input each row belongs to.

        Raises:
            PictureError: a picture cannot be used (with on_error="raise"); names it and says why.
        """
        items, inputs = as_list(pictures), _Inputs(on_error)
        vectors: list[NDArray[np.float32]] = []  # of the distinct pictures
        with progress.task("encoding pictures", len(items)) as advance:
            began = time.perf_counter()
            for start, batch in self._prepare(items, batch_size):
                if fresh := inputs.fresh(start, batch):
                    vectors.append(unit(self._run_image(fresh)))
                advance(len(batch))
                self._worked("image", time.perf_counter() - began)
                began = time.perf_counter()
        return inputs.embeddings(vectors, self.dimension, self.fingerprint)

    def preparer(self, *, whole: bool = False) -> Preparer:
        """What makes of a picture what the tower takes, for use in other processes.

        Args:
            whole: no JPEG is shrunk while decoding, though that was found to be near enough.
        """
        from anmok.pictures import Preparer

        return Preparer(self.checkpoint.transform, self._towers.shrinks and not whole)

    def encode_prepared(self, pictures: Sequence[Prepared]) -> Embeddings:
        """Encode what `preparer` made of pictures, in one run of the tower; as `encode_image` would.

        Returns:
            Embeddings [n, d].
        """
        if not pictures:
            return Embeddings(np.empty((0, self.dimension), np.float32), self.fingerprint)
        began = time.perf_counter()
        vectors = unit(self._run_image(list(pictures)))
        self._worked("image", time.perf_counter() - began)
        return Embeddings(vectors, self.fingerprint)

    def features(
        self,
        pictures: Picture | Sequence[Picture],
        *,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 16,
    ) -> Features:
        """What pictures are as a whole and in each place, from one run of the tower; always in float32.

        The places of a picture take 10 to 1000 times the memory of its embedding: give thousands in parts.

        Args:
            pictures: as in `encode_image`. Equal ones are encoded once.
            on_error: as in `encode_image`; `embeddings.failed` lists what is left out.
            batch_size: pictures per run of the tower.

        Returns:
            Features of n pictures.

        Raises:
            PictureError: a picture cannot be used (with on_error="raise"); names it and says why.
            CheckpointError: the checkpoint holds ready ONNX graphs, which know nothing of places.
        """
        from anmok.models.dense import dense_shapes
        from anmok.runtime.dense import DenseTower

        self._dense = self._dense or DenseTower(self.checkpoint, self._threads)
        items, inputs = as_list(pictures), _Inputs(on_error)
        vectors: list[NDArray[np.float32]] = []  # of the distinct pictures, and so the others
        patches: list[Places] = []
        local: list[Places] = []
        with progress.task("encoding pictures and their places", len(items)) as advance:
            for start, batch in self._prepare(items, batch_size, whole=True):
                if fresh := inputs.fresh(start, batch):
                    embedded, seen, middle = self._dense.run(*_stacked(fresh))
                    vectors.append(unit(embedded))
                    patches.append(unit_places(seen))
                    local.append(middle)
                advance(len(batch))
        embeddings = inputs.embeddings(vectors, self.dimension, self.fingerprint)
        patch_shape, local_shape = dense_shapes(self.checkpoint.spec)
        return Features(embeddings, joined(patches, patch_shape, inputs.rows), joined(local, local_shape, inputs.rows))

    def encode_text(self, texts: str | Sequence[str], *, batch_size: int = 256) -> Embeddings:
        """Encode texts, in order. Equal texts are encoded once, and so is what many of them begin with.

        Args:
            texts: one string, or a list.
            batch_size: texts per run of the tower.

        Returns:
            Embeddings [n, d].

        Raises:
            TextError: an item is not a string.

        Warns:
            UnsupportedScriptWarning: a text is in a script (Hangul, for example) that this model's tokenizer
                cannot carry; said once per script.
        """
        from anmok.texts import warn_unsupported_scripts

        items = [texts] if isinstance(texts, str) else list(texts)
        for index, item in enumerate(items):
            if not isinstance(item, str):
                raise TextError(f"text {index} is a {type(item).__name__}, expected a string")
        warn_unsupported_scripts(self.checkpoint.tokenizer, items)
        distinct = sorted(set(items))  # those that begin alike stand together
        vectors = np.empty((len(distinct), self.dimension), np.float32)
        with progress.task("encoding texts", len(distinct)) as advance:
            for start in range(0, len(distinct), CHUNK):
                began = time.perf_counter()
                ids = self.checkpoint.tokenizer(distinct[start : start + CHUNK])
                vectors[start : start + CHUNK] = unit(self._towers.text(ids, most=batch_size))
                advance(len(ids))
                self._worked("text", time.perf_counter() - began)
        row_of = {text: row for row, text in enumerate(distinct)}
        return Embeddings(vectors[[row_of[text] for text in items]], self.fingerprint)

    def reads(self, texts: Sequence[str]) -> bool:
        """Whether the tokenizer can carry the scripts of these texts (an English CLIP cannot carry Hangul)."""
        from anmok.texts import unsupported_scripts

        return not unsupported_scripts(self.checkpoint.tokenizer, texts)

    def _prepare(
        self, items: Sequence[Picture], batch_size: int, *, whole: bool = False
    ) -> Iterator[tuple[int, list[Prepared | PictureError]]]:
        """Read and transform batches in threads, one ahead of the tower. `whole`: no JPEG is shrunk while decoding."""
        starts = range(0, len(items), batch_size)
        with ThreadPoolExecutor(self._threads or None, "anmok-read") as pool:

            def submit(start: int) -> list[Any]:
                prepare = self.preparer(whole=whole)
                return [pool.submit(_tried, prepare, item) for item in items[start : start + batch_size]]

            ahead = submit(0) if items else []
            for start in starts:
                current, ahead = ahead, submit(start + batch_size)
                try:
                    yield start, [future.result() for future in current]
                except GeneratorExit:  # the caller stopped at a bad picture
                    for future in ahead:
                        future.cancel()
                    raise

    def _run_image(self, batch: list[Prepared]) -> NDArray[np.float32]:
        arrays = _stacked(batch)
        return self._towers.image(arrays[0]) if len(arrays) == 1 else self._towers.patches(*arrays)


class _Inputs:
    """Which inputs have which row: equal pictures share one, and what failed has none."""

    def __init__(self, on_error: Literal["raise", "skip"]) -> None:
        self._raises = on_error == "raise"
        self._seen: dict[bytes, int] = {}
        self._indices: list[int] = []
        self._failed: list[Failure] = []
        self.rows: list[int] = []  # per readable picture, its row among the distinct ones

    def fresh(self, start: int, batch: list[Prepared | PictureError]) -> list[Prepared]:
        """Take in a batch whose first picture is input `start`; those that were not seen before come back."""
        fresh: list[Prepared] = []
        for index, prepared in enumerate(batch, start):
            if isinstance(prepared, PictureError):
                if self._raises:
                    raise prepared
                self._failed.append(Failure(index, prepared.picture, prepared.reason))
                continue
            key = _content_key(prepared)
            if key not in self._seen:
                self._seen[key] = len(self._seen)
                fresh.append(prepared)
            self.rows.append(self._seen[key])
            self._indices.append(index)
        return fresh

    def embeddings(self, vectors: list[NDArray[np.float32]], dimension: int, fingerprint: str) -> Embeddings:
        """A row for every readable picture, from those of the distinct ones in parts [k, d]."""
        distinct = np.concatenate(vectors) if vectors else np.empty((0, dimension), np.float32)
        return Embeddings(distinct[self.rows], fingerprint, np.array(self._indices, np.int64), tuple(self._failed))


def _tried(prepare: Preparer, picture: Picture) -> Prepared | PictureError:
    try:
        return prepare(picture)
    except PictureError as error:
        return error


def _stacked(batch: list[Prepared]) -> list[NDArray[Any]]:
    return [np.stack(part) for part in zip(*batch, strict=True)]


def as_list(pictures: Any) -> list[Any]:
    """A single picture becomes a list of one; an array [h, w, 3] is one picture, a list stays a list."""
    if isinstance(pictures, (str, bytes, Path)) or hasattr(pictures, "convert"):
        return [pictures]
    if isinstance(pictures, np.ndarray) and pictures.ndim <= 3:
        return [pictures]
    return list(pictures)


def _content_key(prepared: Prepared) -> bytes:
    digest = blake2b(digest_size=16)
    for array in prepared:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
