"""Pictures → features of the places of their canvas, a few pictures at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from anmok import progress
from anmok.errors import PictureError
from anmok.inspect.levels import balanced
from anmok.models.dense import local_widths
from anmok.pictures import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.checkpoints import Checkpoint
    from anmok.encoder import Picture
    from anmok.features import Features
    from anmok.inspect.tiling import Tiling

__all__ = ["Source", "features_of", "look", "median_size", "places_of_tile"]

AT_ONCE = 16  # tiles that are encoded together
SAMPLED = 16  # pictures whose size is looked at


class Source(Protocol):
    """Where features come from: an encoder, or a cache in front of one."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The encoder's."""

    def features(self, pictures: Any) -> Features:
        """As `Encoder.features`."""


def look(
    source: Source, pictures: Sequence[Picture], tiling: Tiling
) -> Iterator[tuple[int, Image.Image | None, NDArray[np.float32] | PictureError]]:
    """Features of each picture, in order.

    Yields:
        Its index, the picture at its own size, and its features [rows, columns, c]; or None and why it cannot be used.
    """
    together = max(1, AT_ONCE // len(tiling))
    for start in range(0, len(pictures), together):
        opened = [_open(picture) for picture in pictures[start : start + together]]
        usable = [picture for picture in opened if not isinstance(picture, PictureError)]
        features = iter(features_of(source, [tiling.fit(picture) for picture in usable], tiling))
        for offset, picture in enumerate(opened):
            if isinstance(picture, PictureError):
                yield start + offset, None, picture
            else:
                yield start + offset, picture, next(features)


def features_of(source: Source, canvases: Sequence[Image.Image], tiling: Tiling) -> list[NDArray[np.float32]]:
    """Features [rows, columns, c] of each canvas."""
    if not canvases:
        return []
    local = _local(source, [tile for canvas in canvases for tile in tiling.cut(canvas)])
    count = len(tiling)
    return [tiling.join(local[start : start + count]) for start in range(0, len(local), count)]


def places_of_tile(source: Source) -> tuple[tuple[int, int], int]:
    """(rows, columns) of places that the encoder tells of one tile, and the length of their features."""
    tile = np.zeros((*source.checkpoint.transform.size, 3), np.uint8)
    _, rows, columns, channels = _local(source, [tile]).shape
    return (rows, columns), channels


def median_size(pictures: Sequence[Picture]) -> tuple[int, int] | None:
    """Median height and width of some pictures, or None where none of them can be read."""
    step = max(1, len(pictures) // SAMPLED)
    opened = [_open(picture) for picture in pictures[::step][:SAMPLED]]
    sizes = [picture.size for picture in opened if not isinstance(picture, PictureError)]
    if not sizes:  # those were bad ones: look at all
        found = next((one for one in map(_open, pictures) if not isinstance(one, PictureError)), None)
        return None if found is None else (found.height, found.width)
    width, height = np.median(sizes, axis=0)
    return round(height), round(width)


def _local(source: Source, tiles: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """[tiles, rows, columns, c]. Tiles are square, so that NaFlex towers give all of them the same rows and columns."""
    with progress.quiet():
        local = source.features(tiles).local
    places = np.stack(local) if isinstance(local, list) else local
    return balanced(places, local_widths(source.checkpoint.spec))


def _open(picture: Picture) -> Image.Image | PictureError:
    try:
        return read(picture)
    except PictureError as error:
        return error
