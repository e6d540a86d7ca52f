"""What a reader found, and what it could not use: listed one by one at first, counted to the end."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anmok.pairs.pair import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.pairs.pair import Shard

__all__ = ["LISTED", "Opened", "Problems", "digest"]

LISTED = 1000  # problems of one kind that are listed one by one; a web archive can have millions


@dataclass(frozen=True)
class Opened:
    """Shards of one kind of source, and a digest over the names, sizes and places of their pairs."""

    shards: Sequence[Shard]
    digest: bytes


class Problems:
    """Gathers problems in order; after `LISTED` of a kind only their number is kept."""

    def __init__(self) -> None:
        self.total = 0  # pictures, texts and rows that problems stand for
        self._listed: list[Problem] = []
        self._counts: Counter[str] = Counter()
        self._more: Counter[str] = Counter()

    def add(self, where: str, kind: str, reason: str, *, count: int = 1) -> None:
        """Note one problem, which stands for `count` pictures, texts or rows."""
        self.total += count
        self._counts[kind] += 1
        if self._counts[kind] <= LISTED:
            self._listed.append(Problem(where, kind, reason, count))
        else:
            self._more[kind] += count

    def found(self) -> tuple[Problem, ...]:
        """All of them, in order; those that are counted only come last, one for each kind."""
        more = (
            Problem("everywhere", kind, f"{count:,} more of this kind, not listed one by one", count)
            for kind, count in self._more.items()
        )
        return (*self._listed, *more)


def digest(*parts: object) -> bytes:
    """SHA-256 over parts (bytes, NumPy arrays, or anything with a fixed text), kept apart by their lengths."""
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.tobytes() if hasattr(part, "tobytes") else str(part).encode()
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.digest()
