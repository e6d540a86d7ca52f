"""Features: what a picture is as a whole, what each of its places is, and what each place looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anmok.embeddings import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.embeddings import Embeddings

    Places: TypeAlias = NDArray[np.float32] | list[NDArray[np.float32]]

__all__ = ["Features", "joined", "picked", "unit_places"]


@dataclass(frozen=True, eq=False)
class Features:
    """What `Encoder.features` gives for n pictures. Of a NaFlex encoder the places are lists of n arrays, because each
    picture has rows and columns of its own.

    `embeddings`: the pictures in the shared space, [n, d], as `encode_image` gives them in float32.
    `patches`: float32 [n, h, w, d], each place in the shared space, of unit length, from the top left row by row. To be
        compared with texts and with each other (see `anmok.models.dense`).
    `local`: float32 [n, h', w', c], the middle of the tower, not of unit length. What a place looks like, for telling
        odd ones apart; not comparable with texts.
    """

    embeddings: Embeddings
    patches: Places
    local: Places

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, rows: Any) -> Features:
        """A row, a slice or a list of rows, still as Features of k pictures."""
        numbers = np.atleast_1d(np.arange(len(self))[rows])
        return Features(self.embeddings[numbers], picked(self.patches, numbers), picked(self.local, numbers))


def picked(places: Places, rows: Sequence[int] | NDArray[np.int64]) -> Places:
    """Those rows, in that order; the places themselves where that is all of them."""
    if isinstance(places, list):
        return [places[row] for row in rows]
    return places if np.array_equal(rows, np.arange(len(places))) else places[np.asarray(rows, np.int64)]


def joined(parts: Sequence[Places], shape: Sequence[int | str], rows: Sequence[int]) -> Places:
    """The places of several runs as one, then `rows` of them. `shape`: of one picture, as `dense_shapes` says."""
    if "m" in shape:
        return picked([place for part in parts for place in part], rows)
    nothing = np.empty((0, *map(int, shape)), np.float32)
    return picked(np.concatenate(parts) if parts else nothing, rows)


def unit_places(places: Places) -> Places:
    """Each place [..., d] scaled to length 1."""
    return [unit(place) for place in places] if isinstance(places, list) else unit(places)
