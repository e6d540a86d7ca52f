"""One look at a picture: decoded once, and all that is ever asked of it taken down."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.clean.hashes import perceptual_hash
from anmok.clean.quality import measure_quality, view
from anmok.clean.signatures import signature
from anmok.errors import PictureError
from anmok.pictures import picture_name, read
from anmok.pictures.read import system_reason

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.clean.quality import Quality
    from anmok.encoder import Encoder

__all__ = ["Look", "look_at", "prepare_for"]


@dataclass(frozen=True, eq=False)
class Look:
    """What is kept of a picture.

    `file`, `pixels`: 64-bit digests of its bytes and of what they decode to. Two of a million different pictures
        share one with a probability of 3 in 100 million.
    `hash`: perceptual.
    `signature`: uint8 [3, 32, 32].
    `quality`: size, light, sharpness.
    `input`: what an encoder is given, or None.
    """

    file: np.uint64
    pixels: np.uint64
    hash: np.uint64
    signature: NDArray[np.uint8]
    quality: Quality
    input: Any


def look_at(picture: Path | bytes, prepare: Callable[[Image.Image], Any] | None = None) -> Look:
    """Read a picture and measure it.

    Args:
        picture: a path, or the bytes of a file.
        prepare: makes what the encoder will be given.

    Raises:
        PictureError: it cannot be used; says why.
    """
    try:
        image = read(picture)
        small = view(image)
        return Look(
            file=_digest(picture if isinstance(picture, bytes) else _bytes_of(picture)),
            pixels=_digest(f"{image.width} x {image.height} ".encode(), image.tobytes()),
            hash=perceptual_hash(small),
            signature=signature(small),
            quality=measure_quality(small, image.size),
            input=prepare(image) if prepare else None,
        )
    except MemoryError as error:
        raise PictureError(picture_name(picture), "not enough memory to look at it") from error


def prepare_for(encoder: Encoder | None) -> Callable[[Image.Image], Any] | None:
    """How to shrink pictures for an encoder, so that whole ones need not wait in memory for their batch.

    It is the encoder's own transform; what has been through it is not changed by it again. (NaFlex keeps the aspect
    ratio of what it is given, so there a picture goes in as it is.)
    """
    if encoder is None:
        return None
    transform = encoder.checkpoint.transform
    return (lambda image: image) if transform.resize == "naflex" else transform


def _digest(*parts: bytes) -> np.uint64:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return np.uint64(int.from_bytes(digest.digest(), "big"))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # it was there a moment ago
        raise PictureError(picture_name(path), system_reason(error)) from error
