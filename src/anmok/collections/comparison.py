"""How a collection answers under a new encoder, beside the old one: what is looked at before a switch.

It is asked with its own pictures. Two encoders that see alike find the same neighbours; that they do not is no fault
by itself, the new one may see better. The recall says how much of the exact answer the new index finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.store import Store

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Shares are 0..1.

    `pictures`: how many were asked with. `top`: neighbours of each that were looked at.
    `overlap`: share of the nearest others under the old encoder that are among the nearest under the new one.
    `recall`, `recall_before`: share of the exact results that a search finds, in the new and in the old one.
    """

    pictures: int
    top: int
    overlap: float
    recall: float
    recall_before: float


def compare(old: Store, new: Store, *, pictures: int = 100, top: int = 10) -> Comparison:
    """Ask both stores with up to `pictures` rows that both have, spread evenly."""
    keys = new.keys()
    chosen = keys[:: max(1, len(keys) // pictures)][:pictures]
    pairs = [(a, b) for a, b in zip(old.get(chosen), new.get(chosen), strict=True) if a is not None and b is not None]
    if not pairs:
        return Comparison(0, top, 1.0, 1.0, 1.0)
    asked = [item.key for item, _ in pairs]
    before, now = (np.stack([pair[side].vector for pair in pairs]) for side in (0, 1))
    with progress.task("comparing with the old encoder", 4) as advance:
        neighbours_before = _neighbours(old, asked, before, top)
        advance(1)
        neighbours = _neighbours(new, asked, now, top)
        advance(1)
        recall_before = old.recall(before, top)
        advance(1)
        recall = new.recall(now, top)
        advance(1)
    return Comparison(len(pairs), top, _overlap(neighbours_before, neighbours), recall, recall_before)


def _neighbours(store: Store, keys: list[str], vectors: NDArray[np.float32], top: int) -> list[set[str]]:
    """The `top` rows nearest to each of some rows, exactly, without the row itself."""
    found = store.search(vectors, top + 1, exact=True)
    others = ([match.key for match in matches if match.key != key] for key, matches in zip(keys, found, strict=True))
    return [set(each[:top]) for each in others]


def _overlap(before: list[set[str]], now: list[set[str]]) -> float:
    shared = sum(len(a & b) for a, b in zip(before, now, strict=True))
    total = sum(map(len, before))
    return shared / total if total else 1.0
