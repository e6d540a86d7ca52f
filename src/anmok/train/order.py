"""Which pair comes when: an order that depends on the seed, the epoch and the data, and on nothing else.

It is the same for one process and for many, and any place of it can be reached at once. So a run that was stopped goes
on at the very next pair, and N processes see together exactly what one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Order", "Place", "held_out"]


@dataclass(frozen=True)
class Place:
    """Some pairs that stand next to each other: `indices` of `epoch`, the first of them at place `first`."""

    epoch: int
    first: int
    indices: NDArray[np.int64]


def held_out(count: int, share: float, most: int, seed: int) -> NDArray[np.int64]:
    """Indices of the pairs that are kept apart for validation, sorted: a share of `count`, at most `most`."""
    wanted = min(round(count * share), most)
    return np.sort(np.random.default_rng((seed, 0x5EED)).permutation(count)[:wanted])


class Order:
    """The shuffled order of some sources, epoch by epoch.

    Shards are shuffled, then the pairs of `window` of them at a time: that many files are read from at once, and with
    no more shards than that the shuffle is complete. With `shares`, each place of an epoch belongs to a source by its
    share, and every source goes through its own pairs at its own pace, each as often as the others of that source.
    The numbers of one epoch are in memory, 8 bytes a pair.

    Args:
        shards: the sizes of the shards of each source; pairs are numbered through all of them.
        seed: of the shuffle.
        window: shards that are shuffled together.
        shares: how often each source is drawn from; None: as it is large.
        without: indices that are never drawn (held out).
    """

    def __init__(
        self,
        shards: Sequence[Sequence[int]],
        *,
        seed: int,
        window: int = 64,
        shares: Sequence[float] | None = None,
        without: NDArray[np.int64] | None = None,
    ) -> None:
        kept = np.ones(sum(map(sum, shards)), bool)
        if without is not None:
            kept[without] = False
        pools = np.split(np.arange(len(kept)), np.cumsum([size for source in shards for size in source])[:-1])
        pools = [pool[kept[pool]] for pool in pools]
        ends = np.cumsum([len(source) for source in shards]) if shares is not None else [len(pools)]
        starts = [0, *ends[:-1]]
        self._streams = [
            _Stream(pools[start:end], (seed, number), window)
            for number, (start, end) in enumerate(zip(starts, ends, strict=True))
        ]
        self._seed = seed
        self.length = int(kept.sum())  # places of an epoch
        self._counts = _quotas(self.length, shares if shares is not None else [1.0])

    def batches(self, epoch: int, size: int, *, first: int = 0) -> Iterator[Place]:
        """Whole batches of an epoch from place `first` on; a rest smaller than a batch is left out."""
        numbers = self._epoch(epoch)
        for start in range(first, self.length - size + 1, size):
            yield Place(epoch, start, numbers[start : start + size])

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        """Every index of an epoch, in order."""
        if len(self._streams) == 1:
            return self._streams[0].slice(epoch * self.length, self.length)
        source_of = np.repeat(np.arange(len(self._streams)), self._counts)
        source_of = np.random.default_rng((self._seed, epoch, 0x517)).permutation(source_of)
        numbers = np.empty(self.length, np.int64)
        for number, (stream, count) in enumerate(zip(self._streams, self._counts, strict=True)):
            numbers[source_of == number] = stream.slice(epoch * count, count)
        return numbers


class _Stream:
    """The pairs of one source, shuffled anew each time that all of them were drawn, without end."""

    def __init__(self, pools: list[NDArray[np.int64]], seed: tuple[int, ...], window: int) -> None:
        self._pools = [pool for pool in pools if len(pool)]
        self._seed = seed
        self._window = window
        self._length = sum(map(len, self._pools))

    def slice(self, start: int, count: int) -> NDArray[np.int64]:
        """`count` indices from place `start` of the endless stream on."""
        parts: list[NDArray[np.int64]] = []
        while count > 0:
            turn, offset = divmod(start, self._length)
            part = self._shuffled(turn)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return np.concatenate(parts)

    def _shuffled(self, turn: int) -> NDArray[np.int64]:
        random = np.random.default_rng((*self._seed, turn))
        shards = random.permutation(len(self._pools))
        groups = [shards[i : i + self._window] for i in range(0, len(shards), self._window)]
        return np.concatenate([random.permutation(np.concatenate([self._pools[s] for s in group])) for group in groups])


def _quotas(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers near `total` times each share that add up to `total` (largest remainders)."""
    exact = np.array(shares, float) / sum(shares) * total
    counts = np.floor(exact).astype(int)
    for place in np.argsort(counts - exact, kind="stable")[: total - counts.sum()]:
        counts[place] += 1
    return [int(count) for count in counts]
