"""A picture with its texts, and where such pairs come from.

Every kind of source (tar shards, tables, folders, saved web pages) is opened as a list of shards whose pairs can be
read in any order. So one rule shuffles them all, the same seed gives the same order anywhere, and a training run that
was stopped in the middle of an epoch goes on at the very next pair.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from anmok.errors import AnmokError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Pair", "PairError", "PairSource", "Problem", "Shard", "SourceError"]


class SourceError(AnmokError):
    """A source of pairs cannot be used at all: names it, says why, and the way out."""


class PairError(AnmokError):
    """One pair cannot be used. `pair` names it; `kind` is a short word to count by; `reason` says why."""

    def __init__(self, pair: str, kind: str, reason: str) -> None:
        super().__init__(f"{pair}: {reason}")
        self.pair = pair
        self.kind = kind
        self.reason = reason

    def __reduce__(self) -> tuple[type[PairError], tuple[str, str, str]]:
        return PairError, (self.pair, self.kind, self.reason)


@dataclass(frozen=True)
class Pair:
    """One picture and the texts that are true of it.

    `name`: for messages, and the same every time ("main-000.tar:m000001.webp").
    `picture`: a path, or the bytes of its file; not decoded, and not looked at.
    `texts`: at least one, none empty, the most literal first.
    `labels`: class names, narrow to wide, where the source knows them.
    `source`: the data set it belongs to ("grocery"), by default the name of the file or folder.
    `captions`: the texts by language ("en", "ko"), where the source tells them apart.
    `facts`: whatever else the source says of it (license, address, credit).
    """

    name: str
    picture: Path | bytes = field(repr=False)
    texts: tuple[str, ...]
    labels: tuple[str, ...] = ()
    source: str = ""
    captions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Problem:
    """What could not be used when a source was opened: `where`, a short `kind` to count by, and the `reason`.

    `count`: how many pictures, texts or rows it stands for; only the first of a kind are listed one by one.
    """

    where: str
    kind: str
    reason: str
    count: int = 1


class Shard(Protocol):
    """Pairs of one file that can be read in any order, also from other processes (it can be pickled)."""

    @property
    def name(self) -> str:
        """Of the file or folder; the names of its pairs start with it ("main-000.tar")."""
        ...

    def __len__(self) -> int:
        """How many pairs."""
        ...

    def read(self, index: int) -> Pair:
        """Read one pair.

        Raises:
            PairError: it cannot be used (no text, a missing file, a text in a wrong encoding).
        """
        ...


@dataclass(frozen=True)
class PairSource:
    """Opened pairs: the shards, in an order that never changes, and what was wrong with the files.

    `fingerprint`: SHA-256 over names, sizes and places of all pairs, 32 hex characters; another one means other data.
    """

    shards: Sequence[Shard]
    problems: tuple[Problem, ...] = ()
    fingerprint: str = ""

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, number: int) -> Pair:
        """Read one pair by its number, counted through all shards.

        Raises:
            IndexError: there is no such pair.
            PairError: it cannot be used.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"there is no pair {number}: the source has {len(self)}")
        shard = bisect_right(self._ends, number)
        return self.shards[shard].read(number - (self._ends[shard - 1] if shard else 0))

    @cached_property
    def _ends(self) -> list[int]:
        """Per shard, the number after its last pair."""
        return list(accumulate(len(shard) for shard in self.shards))

    def __iter__(self) -> Iterator[Pair | PairError]:
        """Every pair in order; one that cannot be used is given as the error that says why."""
        for shard in self.shards:
            for index in range(len(shard)):
                try:
                    yield shard.read(index)
                except PairError as error:
                    yield error
