"""Which pictures show the same, and which one of them stays: the best.

All rows stand in the order of their worth, held-out pictures before all others; a row can only be dropped for one
before it, its twin. So the largest picture of a group stays, and among equals the one with the longest text. Files and
pixels are compared first, then near pairs of hashes, then nearest neighbours of embeddings; what these propose,
`signatures.similarity` decides. Rows that are dropped are compared with nothing more: the memory that is needed does
not grow with the size of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.clean.hashes import MIRROR, near_pairs
from anmok.clean.neighbours import neighbour_pairs
from anmok.clean.signatures import similarity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from anmok.clean.hashes import Pairs
    from anmok.clean.settings import CleanSettings

__all__ = ["KINDS", "Looks", "Twins", "find_duplicates"]

KINDS = ("same file", "same pixels", "near duplicate")
SAME_FILE, SAME_PIXELS, NEAR = range(3)
CHUNK = 1024  # pairs that are judged before it is looked again which rows are left


@dataclass(frozen=True, eq=False)
class Looks:
    """What is known of the looks of m pictures.

    `files`, `pixels`: uint64 [m], digests of the bytes and of what they decode to.
    `hashes`: uint64 [m], perceptual.
    `signatures`: uint8 [m, 3, 32, 32], may be mapped from a file.
    `embeddings`: float16 [m, d], may be mapped from a file; None without an encoder.
    """

    files: NDArray[np.uint64]
    pixels: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    signatures: NDArray[np.uint8]
    embeddings: NDArray[np.float16] | None = None


@dataclass(frozen=True, eq=False)
class Twins:
    """What became of n rows, in their order.

    `twin`: int64 [n], the place of the one that a row is dropped for, and that stays itself; -1 where the row stays.
    `kind`: int8 [n], which of `KINDS` the two are.
    `alike`: float32 [n], the similarity by which a row was dropped. Where the one that it was compared with was
        dropped for a still better one later, `twin` is that one.
    """

    twin: NDArray[np.int64]
    kind: NDArray[np.int8]
    alike: NDArray[np.float32]


def find_duplicates(looks: Looks, rows: NDArray[np.int64], *, held_out: int, settings: CleanSettings) -> Twins:
    """Find for every row a better one that shows the same.

    Args:
        looks: of all pictures.
        rows: int64 [n], those to compare, the best first.
        held_out: so many of them, at the beginning, are not dropped.
        settings: thresholds, and for which kinds only copies of held-out pictures are dropped.
    """
    search = _Search(looks, rows, held_out, settings)
    search.drop_equal(looks.files, SAME_FILE)
    search.drop_equal(looks.pixels, SAME_PIXELS)
    search.drop_near(search.hash_pairs(0), (False,))
    if settings.mirrored:
        search.drop_near(search.hash_pairs(MIRROR), (True,))
    if looks.embeddings is not None:
        both = (False, True) if settings.mirrored else (False,)
        search.drop_near(search.embedding_pairs(looks.embeddings), both)
    return Twins(_ends(search.twin), search.kind, search.alike)


class _Search:
    """The rows, and which of them are still there."""

    def __init__(self, looks: Looks, rows: NDArray[np.int64], held_out: int, settings: CleanSettings) -> None:
        self.looks, self.rows, self.held_out, self.settings = looks, rows, held_out, settings
        self.alive = np.ones(len(rows), bool)
        self.twin = np.full(len(rows), -1, np.int64)
        self.kind = np.zeros(len(rows), np.int8)
        self.alike = np.ones(len(rows), np.float32)

    def drop_equal(self, digests: NDArray[np.uint64], kind: int) -> None:
        """Drop all but the first of those with the same digest."""
        places = np.flatnonzero(self.alive)
        _, first, number = np.unique(digests[self.rows[places]], return_index=True, return_inverse=True)
        best = places[first[number]]
        equal = (best < places) & self._may_drop(best, places, kind)
        self.twin[places[equal]], self.kind[places[equal]] = best[equal], kind
        self.alive[places[equal]] = False

    def hash_pairs(self, flip: int) -> Iterator[Pairs]:
        """Pairs whose hashes are near."""
        hashes = self.looks.hashes[self.rows]
        distance = self.settings.near_distance
        return near_pairs(hashes, self.alive, distance=distance, first=self.held_out, flip=flip)

    def embedding_pairs(self, embeddings: NDArray[np.float16]) -> Iterator[Pairs]:
        """Pairs of nearest neighbours."""
        places = np.flatnonzero(self.alive)
        i, j = neighbour_pairs(embeddings, self.rows[places], cosine=self.settings.near_cosine)
        yield places[i], places[j]

    def drop_near(self, pairs: Iterable[Pairs], turns: tuple[bool, ...]) -> None:
        """Drop the second of each pair that is alike, plain or mirrored, as long as the first is still there."""
        with progress.task("comparing pictures") as advance:
            for i, j in _gathered(pairs):
                for start in range(0, len(i), CHUNK):
                    self._judge(i[start : start + CHUNK], j[start : start + CHUNK], turns)
                    advance(len(i[start : start + CHUNK]))

    def _judge(self, i: NDArray[np.int64], j: NDArray[np.int64], turns: tuple[bool, ...]) -> None:
        there = self.alive[i] & self.alive[j] & self._may_drop(i, j, NEAR)
        i, j = i[there], j[there]
        first, second = self.looks.signatures[self.rows[i]], self.looks.signatures[self.rows[j]]
        alike = np.max([similarity(first, second, mirrored=turn) for turn in turns], axis=0)
        for pair in np.flatnonzero(alike >= self.settings.near_similarity):
            better, worse = i[pair], j[pair]
            if self.alive[better] and self.alive[worse]:
                self.alive[worse] = False
                self.twin[worse], self.kind[worse], self.alike[worse] = better, NEAR, alike[pair]

    def _may_drop(self, better: NDArray[np.int64], worse: NDArray[np.int64], kind: int) -> NDArray[np.bool_]:
        """Held-out rows stay; where a kind is left alone, only what a held-out row shows is dropped."""
        wanted = KINDS[kind] not in self.settings.keep
        return (worse >= self.held_out) & (wanted | (better < self.held_out))


def _gathered(pairs: Iterable[Pairs]) -> Iterator[Pairs]:
    """The same pairs, at least `CHUNK` at once where there are so many, sorted."""
    waiting: list[Pairs] = []

    def joined() -> Pairs:
        i, j = (np.concatenate(side) for side in zip(*waiting, strict=True))
        order = np.lexsort((j, i))
        return i[order], j[order]

    for pair in pairs:
        waiting.append(pair)
        if sum(len(i) for i, _ in waiting) >= CHUNK:
            yield joined()
            waiting.clear()
    if waiting:
        yield joined()


def _ends(twin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Follow twins of twins to the one that stays; a twin always stands before."""
    while True:
        dropped = np.flatnonzero(twin >= 0)
        further = twin[twin[dropped]]
        if (further < 0).all():
            return twin
        twin[dropped] = np.where(further >= 0, further, twin[dropped])
