"""From a recipe to its pairs: opened, put in order, some kept apart for the numbers during training."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.pairs import Pair, PairError, PairSource, open_pairs
from anmok.texts import load_templates
from anmok.train.order import Order, held_out
from anmok.train.recipe import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from anmok.train.recipe import DataConfig, Recipe

__all__ = ["Data", "open_data", "texts_of"]

MOST_HELD_OUT = 2000  # pairs measured during training: enough for a number, few enough for a minute
LOOKED_AT = 500  # pairs that are read to see whether there is anything to tell apart


@dataclass(frozen=True)
class Data:
    """Opened data: all training pairs, the order they come in, and the pairs kept apart."""

    source: PairSource
    order: Order
    allowed: NDArray[np.int64]  # numbers of the pairs that are trained on
    validation: tuple[Pair, ...]
    fingerprint: str

    @property
    def problems(self) -> dict[str, int]:
        """What could not be used when the source was opened, counted by kind."""
        counts: Counter[str] = Counter()
        for problem in self.source.problems:
            counts[problem.kind] += problem.count
        return dict(counts)


def open_data(recipe: Recipe) -> Data:
    """Open the pairs of a recipe and keep some apart.

    Raises:
        RecipeError: there is nothing to train on, or nothing to tell apart.
        SourceError: a source cannot be used.
    """
    config = recipe.data
    if not config.train:
        raise RecipeError(
            "data.train is empty: give shards, a table, a folder of classes, or saved pages (--train-data)"
        )
    entries = [_open(entry, config) for entry in config.train]
    shards = tuple(shard for entry in entries for shard in entry.shards)
    problems = tuple(problem for entry in entries for problem in entry.problems)
    fingerprint = hashlib.sha256(" ".join(entry.fingerprint for entry in entries).encode()).hexdigest()[:32]
    source = PairSource(shards, problems, fingerprint)
    apart = held_out(len(source), 0 if config.validation else config.held_out, MOST_HELD_OUT, recipe.run.seed)
    order = Order(
        [[len(shard) for shard in entry.shards] for entry in entries],
        seed=recipe.run.seed,
        window=config.window,
        shares=config.shares or None,
        without=apart,
    )
    _refuse_nothing_to_tell_apart(source)
    allowed = np.setdiff1d(np.arange(len(source)), apart)
    validation = [_open(entry, config) for entry in config.validation]
    pairs = _usable(validation) if validation else _picked(source, apart)
    return Data(source, order, allowed, tuple(pairs), fingerprint)


def texts_of(data: Data, templates: str, *, most: int = 200_000) -> Iterator[str]:
    """Texts of at most so many training pairs, then the templates: what a tokenizer is trained on."""
    numbers = data.allowed[:: max(1, -(-len(data.allowed) // most))]
    with progress.task("reading texts for the tokenizer", len(numbers)) as advance:
        for pair in _picked(data.source, numbers):
            yield from pair.texts
            advance(1)
    yield from load_templates(templates)


def _open(where: str, config: DataConfig) -> PairSource:
    return open_pairs(
        where,
        kind=config.kind,
        image_key=config.image_key,
        text_key=config.text_key,
        separator=config.separator,
        templates=config.templates,
        encoding=config.encoding,
    )


def _usable(sources: Iterable[PairSource]) -> Iterator[Pair]:
    for source in sources:
        for index, pair in enumerate(source):
            if index >= MOST_HELD_OUT:
                break
            if isinstance(pair, Pair):
                yield pair


def _picked(source: PairSource, numbers: NDArray[np.int64]) -> Iterator[Pair]:
    for number in numbers:
        try:
            yield source.read(int(number))
        except PairError:  # counted when the loop meets others like it
            continue


def _refuse_nothing_to_tell_apart(source: PairSource) -> None:
    """Contrastive training tells texts apart: with one text, or one class, there is nothing to learn."""
    step = max(1, len(source) // LOOKED_AT)
    seen = list(_picked(source, np.arange(0, len(source), step)[:LOOKED_AT]))
    if not seen:
        raise RecipeError(f"not one of the pairs that were looked at can be used: {_why_not(source)}")
    labels = {pair.labels[0] if pair.labels else None for pair in seen}
    texts = {text for pair in seen for text in pair.texts}
    if (len(labels) == 1 and None not in labels) or len(texts) == 1:
        only = next(iter(labels)) or next(iter(texts))
        raise RecipeError(
            f"all {len(seen)} pairs that were looked at say the same ({only!r}): training needs pictures of two or "
            "more different texts. To find pictures unlike the ones of one class, anomaly detection is the right tool"
        )


def _why_not(source: PairSource) -> str:
    for pair in source:
        if isinstance(pair, PairError):
            return f"{pair.pair}: {pair.reason}"
    return "they are empty"
