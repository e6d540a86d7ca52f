"""How large a picture is, without decoding it."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, cast

import numpy as np
from PIL import Image

from anmok.pictures.color import lies_on_its_side
from anmok.pictures.read import FORMATS

if TYPE_CHECKING:
    from anmok.pictures.read import PictureSource

__all__ = ["picture_size"]


def picture_size(picture: PictureSource) -> tuple[int | None, int | None]:
    """Width and height of a picture as it is seen (upright); None where they cannot be told.

    Args:
        picture: bytes of a file (only its header is read), PIL picture, or array [h, w, ...].
    """
    if isinstance(picture, np.ndarray):
        return int(picture.shape[1]), int(picture.shape[0])
    try:
        return _size_of_bytes(picture) if isinstance(picture, bytes) else _upright_size(cast("Image.Image", picture))
    except Exception:  # its pixels were read before; if its metadata is odd, the size is left open
        return None, None


def _size_of_bytes(data: bytes) -> tuple[int, int]:
    formats = [*FORMATS, *(name for name in ("HEIF",) if name in Image.OPEN)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=formats) as picture:
            return _upright_size(picture)


def _upright_size(picture: Image.Image) -> tuple[int, int]:
    width, height = picture.size
    return (height, width) if lies_on_its_side(picture) else (width, height)
