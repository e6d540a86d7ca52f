"""Perceptual hashes: 64 bits that stay nearly the same when a picture is resized, recompressed or brightened.

A bit is the sign of one of the lowest frequencies of the cosine transform of the gray picture. (The usual "pHash"
compares with their median, which is about zero. With the sign, the hash of the mirrored picture needs no second
transform: the frequencies that are odd from left to right change their sign, and no other.) Near pairs among a million
are found without comparing all: where 64 bits differ in at most k, cut into k // 2 + 1 parts, one part differs in at
most one bit.

Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions" (the hash); Norouzi et al.
2012, "Fast search in Hamming space with multi-index hashing", arXiv 1307.2982 (the parts).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MIRROR", "Pairs", "near_pairs", "perceptual_hash"]

Pairs: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.int64]]"  # the first of each pair, and the second
Part: TypeAlias = "tuple[np.uint64, np.uint64]"  # of the bits: shift and mask

GRAY_SIDE = 32
FREQUENCIES = 8  # of each direction, the constant one included
BITS = FREQUENCIES * FREQUENCIES
LEADERS, FOLLOWERS = 64, 4096  # compared at once: two megabytes, which stay in the cache

_COSINES = np.cos(
    np.pi * np.arange(FREQUENCIES)[:, None] * (2 * np.arange(GRAY_SIDE) + 1) / (2 * GRAY_SIDE)
)  # [frequency, pixel], DCT-II without its factors, which change no sign

MIRROR = int(np.packbits(np.tile([False, True], BITS // 2)).view(">u8")[0])
"""What a picture's hash has to be XORed with to become that of its mirrored copy."""


def perceptual_hash(picture: Image.Image) -> np.uint64:
    """The hash of a picture of any size; the bit of the constant frequency comes first and is nearly always set."""
    gray = picture.convert("L").resize((GRAY_SIDE, GRAY_SIDE), Image.Resampling.LANCZOS)
    waves = _COSINES @ np.asarray(gray, np.float64) @ _COSINES.T  # [vertical, horizontal]
    bits: np.uint64 = np.packbits(waves.ravel() > 0).view(">u8")[0].astype(np.uint64)
    return bits


def near_pairs(
    hashes: NDArray[np.uint64],
    alive: NDArray[np.bool_],
    *,
    distance: int,
    first: int = 0,
    flip: int = 0,
) -> Iterator[Pairs]:
    """Every pair i < j, j >= `first`, of which at most `distance` bits differ; each once, a block of them at a time.

    Args:
        hashes: uint64 [n].
        alive: bool [n], looked at again for every block: rows that the caller turns off meanwhile are left out, so
            that ten thousand pictures of one thing do not make fifty million pairs.
        distance: bits.
        first: j is at least this.
        flip: XORed to one of the two, as `MIRROR`.

    Yields:
        i, j: int64 [p] each, in no order.
    """
    parts, turn = _parts(distance // 2 + 1), np.uint64(flip)
    for number, part in enumerate(parts):
        for leaders, followers in _groups(hashes, part, turn):
            for i, j in _compare(hashes, alive, leaders, followers, distance=distance, flip=turn):
                new = (j >= first) & _unseen(hashes[i] ^ hashes[j] ^ turn, parts[:number])
                if new.any():
                    yield i[new], j[new]


def _groups(hashes: NDArray[np.uint64], part: Part, flip: np.uint64) -> Iterator[Pairs]:
    """Rows whose part is equal, and rows whose parts differ in one bit; every two groups once."""
    if not len(hashes):
        return
    shift, mask = part
    keys = (hashes >> shift) & mask
    order = np.argsort(keys, kind="stable")  # rows of one key stay sorted
    present, starts = np.unique(keys[order], return_index=True)
    groups = dict(zip(present.tolist(), np.split(order, starts[1:]), strict=True))
    flipped = int((flip >> shift) & mask)
    probes = [flipped, *(flipped ^ (1 << bit) for bit in range(int(mask).bit_length()))]
    for key, leaders in groups.items():
        for probe in probes:
            followers = groups.get(key ^ probe) if key <= key ^ probe else None
            if followers is not None:
                yield leaders, followers


def _parts(count: int) -> list[Part]:
    """`count` parts of about equal width that make up all the bits."""
    ends = [BITS * part // count for part in range(count + 1)]
    return [(np.uint64(low), np.uint64((1 << (high - low)) - 1)) for low, high in itertools.pairwise(ends)]


def _compare(
    hashes: NDArray[np.uint64],
    alive: NDArray[np.bool_],
    leaders: NDArray[np.int64],
    followers: NDArray[np.int64],
    *,
    distance: int,
    flip: np.uint64,
) -> Iterator[Pairs]:
    """Compare two groups, or one with itself."""
    same = leaders is followers
    for top in range(0, len(leaders), LEADERS):
        for left in range(top if same else 0, len(followers), FOLLOWERS):
            ahead = leaders[top : top + LEADERS]
            behind = followers[left : left + FOLLOWERS]
            ahead, behind = ahead[alive[ahead]], behind[alive[behind]]
            different = np.bitwise_count((hashes[ahead] ^ flip)[:, None] ^ hashes[behind])  # [leaders, followers]
            row, column = np.nonzero(different <= distance)
            i, j = ahead[row], behind[column]
            if same:
                i, j = i[i < j], j[i < j]
            if len(i):
                yield np.minimum(i, j), np.maximum(i, j)


def _unseen(difference: NDArray[np.uint64], parts: list[Part]) -> NDArray[np.bool_]:
    """Whether more than one bit differs in each of the parts: else the pair came with an earlier part."""
    unseen = np.ones(len(difference), bool)
    for shift, mask in parts:
        unseen &= np.bitwise_count((difference >> shift) & mask) > 1
    return unseen
