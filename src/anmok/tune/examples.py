"""Pictures of classes, read once and varied anew for every step."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from anmok import progress
from anmok.embeddings import Failure
from anmok.errors import PictureError
from anmok.pictures import normalize, normalize_patches, read
from anmok.settings import settings
from anmok.train.augment import augment
from anmok.tune.settings import TuneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from anmok.pictures import PictureSource, Transform
    from anmok.train.recipe import AugmentConfig

__all__ = ["Examples"]

Inputs = dict[str, "Tensor"]  # what `encode_image` takes
MARGIN = 1.25  # a kept picture is so much larger than what the smallest crop of it needs


class Examples:
    """The pictures that can be used, in memory, and their classes; the others are listed in `failed`.

    Pictures that are varied are kept about as large as the smallest crop of them needs, the others as the model takes
    them.

    Args:
        pictures: paths, bytes, PIL pictures or arrays.
        targets: class of each, int64 [n].
        transform: of the model.
        augmentation: how they are varied; None: not at all.

    Raises:
        TuneError: none of them can be used.
    """

    def __init__(
        self,
        pictures: Sequence[PictureSource],
        targets: NDArray[np.int64],
        transform: Transform,
        augmentation: AugmentConfig | None,
    ) -> None:
        self.transform, self.augmentation = transform, augmentation
        self._kept: list[Any] = []  # pictures, or what the transform made of them where they are not varied
        self.failed: list[Failure] = []
        used: list[int] = []
        with (
            progress.task("reading pictures", len(pictures)) as advance,
            ThreadPoolExecutor(settings().threads or None, "anmok-read") as pool,
        ):
            for index, picture in enumerate(pool.map(self._read, pictures)):
                if isinstance(picture, PictureError):
                    self.failed.append(Failure(index, picture.picture, picture.reason))
                else:
                    self._kept.append(picture)
                    used.append(index)
                advance(1)
        if not used:
            reason = f"; the first, {self.failed[0].picture}: {self.failed[0].error}" if self.failed else ""
            raise TuneError(f"of {len(pictures)} pictures none can be used{reason}")
        self.targets = targets[used]

    def __len__(self) -> int:
        """How many can be used."""
        return len(self._kept)

    def batch(self, rows: NDArray[np.int64], seed: tuple[int, ...]) -> Inputs:
        """Some pictures as the picture tower takes them. The same seed varies them in the same way."""
        prepared = [self._kept[row] for row in rows]
        if self.augmentation is not None:
            randoms = [np.random.default_rng((*seed, place)) for place in range(len(rows))]
            varied = zip(prepared, randoms, strict=True)
            prepared = [self._prepared(augment(picture, self.augmentation, random)) for picture, random in varied]
        if self.transform.resize != "naflex":
            pixels = normalize(np.stack(prepared), self.transform)
            return {"pixels": torch.from_numpy(pixels).to(memory_format=torch.channels_last)}
        patches, mask, shapes = zip(*prepared, strict=True)
        real = np.stack(mask)
        pixels = normalize_patches(np.stack(patches), self.transform, real)
        return {"pixels": torch.from_numpy(pixels), "mask": torch.from_numpy(real), "shapes": torch.tensor(shapes)}

    def all(self, size: int) -> Iterator[Inputs]:
        """All of them in order, in batches of `size`."""
        for start in range(0, len(self), size):
            yield self.batch(np.arange(start, min(start + size, len(self))), (0,))

    def digest(self) -> str:
        """Equal for equal pictures and classes."""
        digest = blake2b(self.targets.tobytes(), digest_size=16)
        for kept in self._kept:
            for part in kept if isinstance(kept, tuple) else (kept,):
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def _prepared(self, picture: Image.Image) -> Any:
        return self.transform.patches(picture) if self.transform.resize == "naflex" else self.transform(picture)

    def _read(self, source: PictureSource) -> Any:
        """What is kept of a picture, or the PictureError that says why it cannot be read."""
        try:
            picture = read(source)
        except PictureError as error:
            return error
        if self.augmentation is None:
            return self._prepared(picture)
        wanted = max(self.transform.size) * MARGIN / math.sqrt(self.augmentation.scale[0])
        shrink = wanted / min(picture.size)
        if shrink >= 1:
            return picture
        width, height = (max(1, round(side * shrink)) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
