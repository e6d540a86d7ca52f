"""Groups of pictures that look the same: pairs above a threshold, joined."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anmok.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anmok.store import Store

__all__ = ["DuplicateGroup", "near_duplicates"]


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that look the same.

    `pictures`: their paths (keys), sorted.
    `cosine`: the weakest link that was needed to join them. Groups grow link by link, so two members
        may be less alike than the threshold.
    """

    pictures: tuple[str, ...]
    cosine: float


def near_duplicates(
    store: Store, threshold: float, *, where: Mapping[str, Any] | None = None, most: int | None = None
) -> list[DuplicateGroup]:
    """Group the rows of a store whose cosine is at least `threshold`, the largest groups first.

    Raises:
        QueryError: there are more than `most` such pairs.
    """
    allowed = set(store.keys(where)) if where else None
    links = []
    for number, pair in enumerate(store.pairs_above(threshold)):
        if number == most:
            raise QueryError(f"more than {most:,} pairs are at least {threshold:g} alike: give a higher threshold")
        if allowed is None or (pair.first in allowed and pair.second in allowed):
            links.append((pair.score, pair.first, pair.second))
    links.sort(key=lambda link: -link[0])  # strongest first, so the weakest that joins is known
    forest = _Forest()
    for score, first, second in links:
        forest.join(first, second, min(score, 1.0))
    return forest.groups()


class _Forest:
    """Union-find with path halving; each tree remembers its weakest link."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._weakest: dict[str, float] = {}

    def join(self, first: str, second: str, cosine: float) -> None:
        first, second = self._root(first), self._root(second)
        if first != second:
            self._parent[second] = first
            self._weakest[first] = cosine  # links come strongest first, so this one is the weakest so far

    def groups(self) -> list[DuplicateGroup]:
        members: dict[str, list[str]] = defaultdict(list)
        for key in self._parent:
            members[self._root(key)].append(key)
        found = [DuplicateGroup(tuple(sorted(keys)), self._weakest[root]) for root, keys in members.items()]
        return sorted(found, key=lambda group: (-len(group.pictures), group.pictures))

    def _root(self, key: str) -> str:
        self._parent.setdefault(key, key)
        while self._parent[key] != key:
            self._parent[key] = self._parent[self._parent[key]]
            key = self._parent[key]
        return key
