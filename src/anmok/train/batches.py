"""Pairs → batches: read, vary, resize, tokenize, in worker processes, bad ones replaced and counted."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from multiprocessing import parent_process
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from anmok.errors import PictureError
from anmok.pairs import Pair, PairError
from anmok.pictures import read
from anmok.train.augment import augment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.pairs import PairSource
    from anmok.pictures import Transform
    from anmok.texts import Tokenizer
    from anmok.train.order import Place
    from anmok.train.recipe import AugmentConfig

__all__ = ["Batch", "PairBatches", "Skipped", "load_batches"]

TRIES = 20  # other pairs that are tried in the place of a bad one
Skipped = tuple[str, str, str]  # name of the pair, kind, reason


@dataclass
class Batch:
    """Pairs as the towers take them.

    `pixels`: uint8 [n, h, w, 3], one array per transform (the model's, then the teacher's where there is one).
    `ids`: int64 [m, l], one per tokenizer, of the m different texts; `rows` int64 [n]: which of them each pair has.
        Pictures of a class share their texts, which are encoded once.
    `groups`: int64 [n]; pairs of one group are true of each other.
    `texts`, `names`: for messages and teachers.
    `skipped`: what could not be used; other pairs stand in its place.
    """

    pixels: tuple[Tensor, ...]
    ids: tuple[Tensor, ...]
    rows: Tensor
    groups: Tensor
    texts: list[str]
    names: list[str]
    skipped: list[Skipped] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, which a GPU copies from while it computes."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        pixels, ids = (tuple(change(tensor) for tensor in many) for many in (self.pixels, self.ids))
        return replace(self, pixels=pixels, ids=ids, rows=change(self.rows), groups=change(self.groups))

    def __len__(self) -> int:
        return len(self.texts)


class PairBatches(Dataset[Batch]):
    """Makes the batch of a `Place`. What is random in it depends on the seed, the epoch and the place alone.

    Args:
        source: the pairs.
        transforms: of the model, then of the teacher where there is one.
        tokenizers: likewise.
        augmentation: None leaves pictures as they are.
        captions: "random" or "first" of a pair's texts.
        positives: "own", "text" or "label": what makes two pairs true of each other.
        seed: of captions and augmentation.
        allowed: numbers of the pairs that may stand in the place of a bad one; None: all of them.
    """

    def __init__(
        self,
        source: PairSource,
        *,
        transforms: Sequence[Transform],
        tokenizers: Sequence[Tokenizer],
        augmentation: AugmentConfig | None = None,
        captions: str = "random",
        positives: str = "text",
        seed: int = 0,
        allowed: NDArray[np.int64] | None = None,
    ) -> None:
        self.source = source
        self.transforms, self.tokenizers = tuple(transforms), tuple(tokenizers)
        self.augmentation, self.captions, self.positives = augmentation, captions, positives
        self.seed = seed
        self.allowed = np.arange(len(source)) if allowed is None else allowed

    def __getitem__(self, place: Place) -> Batch:
        skipped: list[Skipped] = []
        made = [
            self._usable(int(index), np.random.default_rng((self.seed, place.epoch, place.first + offset)), skipped)
            for offset, index in enumerate(place.indices)
        ]
        pairs, pictures, texts = zip(*made, strict=True)
        pixels = tuple(torch.from_numpy(np.stack(column)) for column in zip(*pictures, strict=True))
        different = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        ids = tuple(torch.from_numpy(tokenizer(list(different))) for tokenizer in self.tokenizers)
        rows = torch.tensor([different[text] for text in texts])
        groups = [
            self._group(pair, text, place.first + offset)
            for offset, (pair, text) in enumerate(zip(pairs, texts, strict=True))
        ]
        names = [pair.name for pair in pairs]
        return Batch(pixels, ids, rows, torch.tensor(groups), list(texts), names, skipped)

    def _usable(
        self, index: int, random: np.random.Generator, skipped: list[Skipped]
    ) -> tuple[Pair, list[NDArray[np.uint8]], str]:
        """The pair of that number or, where it is bad, another one drawn in its place."""
        for _ in range(TRIES):
            try:
                pair = self.source.read(index)
                picture = read(pair.picture)
            except PairError as error:
                skipped.append((error.pair, error.kind, error.reason))
            except PictureError as error:
                skipped.append((pair.name, "bad picture", error.reason))
            else:
                return pair, self._pixels(pair, picture, random), self._text(pair, random)
            index = int(self.allowed[random.integers(len(self.allowed))])
        name, _, reason = skipped[-1]
        raise PairError(name, "too many", f"{TRIES} pairs in a row cannot be used; the last: {reason}")

    def _pixels(self, pair: Pair, picture: Image.Image, random: np.random.Generator) -> list[NDArray[np.uint8]]:
        config = self.augmentation
        if config is not None and (not config.only or pair.source in config.only):
            picture = augment(picture, config, random)
        return [transform(picture) for transform in self.transforms]

    def _text(self, pair: Pair, random: np.random.Generator) -> str:
        chosen = int(random.integers(len(pair.texts))) if self.captions == "random" else 0
        return pair.texts[chosen]

    def _group(self, pair: Pair, text: str, number: int) -> int:
        if self.positives == "own":
            return number
        if self.positives == "label" and pair.labels:
            return _number(f"label {pair.source} {pair.labels[0]}")
        return _number(" ".join(text.lower().split()))


def load_batches(
    dataset: PairBatches, places: Iterator[Place], *, workers: int, pin_memory: bool = False
) -> Iterator[Batch]:
    """The batches of `places`, in order, made ahead by `workers` processes (0: here and now).

    Raises:
        PairError: so many pairs in a row cannot be used that something else must be wrong.
    """
    options: dict[str, Any] = {}
    if workers:
        options = {"prefetch_factor": 2, "multiprocessing_context": "forkserver", "worker_init_fn": _end_with_parent}
    loader = DataLoader(
        _Caught(dataset),
        batch_size=None,  # a place is a whole batch
        sampler=_Places(places),
        num_workers=workers,
        pin_memory=pin_memory,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # its own, so that starting it does not move the random numbers of training
        **options,
    )
    for batch in loader:
        if isinstance(batch, PairError):
            raise batch
        yield batch


class _Caught(Dataset[Any]):
    """Gives an error back instead of raising it: PyTorch cannot bring one with several arguments out of a worker."""

    def __init__(self, dataset: PairBatches) -> None:
        self._dataset = dataset

    def __getitem__(self, place: Place) -> Batch | PairError:
        try:
            return self._dataset[place]
        except PairError as error:
            return error


class _Places:
    """What DataLoader calls a sampler."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._places = places

    def __iter__(self) -> Iterator[Place]:
        return self._places


def _end_with_parent(worker: int) -> None:
    """PyTorch's own watch looks at the server that forked the worker, which outlives a training that is killed."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _as_it_is(batch: Any) -> Any:
    return batch


def _number(text: str) -> int:
    """63 bits that are equal for equal texts, in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1
