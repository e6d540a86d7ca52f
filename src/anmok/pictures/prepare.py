"""From anything that holds a picture to what a model's tower takes, in one call that any process can make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.pictures.read import read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.pictures.read import PictureSource
    from anmok.pictures.transform import Transform

__all__ = ["Prepared", "Preparer"]

Prepared = tuple["NDArray[Any]", ...]  # (pixels,), or of NaFlex (patches, mask, shape)


@dataclass(frozen=True)
class Preparer:
    """Reads and transforms pictures. Holds no weights, so that it can be sent to another process.

    `shrink`: whether large JPEGs may be decoded no larger than needed.
    """

    transform: Transform
    shrink: bool = False

    def __call__(self, picture: PictureSource) -> Prepared:
        """One picture as its tower takes it.

        Raises:
            PictureError: it cannot be used.
        """
        image = read(picture, needed=self.transform.needed if self.shrink else None)
        if self.transform.resize == "naflex":
            patches, mask, shape = self.transform.patches(image)
            return patches, mask, np.array(shape, np.int64)
        return (self.transform(image),)
