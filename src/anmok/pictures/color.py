"""Decoded pictures of any mode and orientation → upright RGB."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["lies_on_its_side", "to_rgb", "upright"]

ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
SIXTEEN_BIT_FORMATS = ("PNG", "PPM", "JPEG2000")  # what these open in mode "I" holds 0..65535


def upright(picture: Image.Image) -> Image.Image:
    """Turn `picture` as its EXIF orientation says; damaged EXIF counts as none.

    The result of a turn carries no metadata, so that it is never turned twice.
    """
    turn = TURNS.get(_orientation(picture))
    if turn is None:
        return picture
    turned = picture.transpose(turn)
    if "transparency" in picture.info:
        turned.info = {"transparency": picture.info["transparency"]}
    else:
        turned.info = {}
    return turned


def lies_on_its_side(picture: Image.Image) -> bool:
    """Whether turning it upright swaps height and width."""
    return _orientation(picture) in (5, 6, 7, 8)


def _orientation(picture: Image.Image) -> int:
    """1 to 8; damaged EXIF counts as 1, upright."""
    try:
        found = picture.getexif().get(ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, EOFError, struct.error):
        return 1
    return found if isinstance(found, int) else 1


def to_rgb(picture: Image.Image) -> Image.Image:
    """Bring a decoded picture to mode RGB.

    - Transparency (alpha, palette, color key) is laid on white: pixels that nobody sees often
      hold a hidden color, which `convert("RGB")` would bring out.
    - 16-bit gray is scaled by 255/65535 and rounded; `convert("RGB")` would clip it to white.
    - Floats of 0..1 are scaled by 255, floats of 0..255 taken as they are. 32-bit whole numbers
      of 0..255 are taken as they are, of 0..65535 scaled as 16-bit.
    - All else (gray, 1-bit, palette, CMYK, YCbCr, LAB) is what Pillow's `convert("RGB")` gives,
      as in the reference implementations.

    Raises:
        ValueError: floats or 32-bit numbers outside these ranges; nobody knows what is white.
    """
    if picture.mode == "F" or picture.mode in WIDE_MODES:
        return _from_wide(picture)
    if picture.has_transparency_data:
        seen = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    if picture.mode == "RGB" and type(picture) is Image.Image:
        return picture
    plain = picture.convert("RGB")  # a copy that has let go of the file
    plain.info = {}
    return plain


def _from_wide(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture if picture.mode in ("I", "F") else picture.convert("I"))
    gray = _eight_bits(values, sixteen_bits=picture.mode not in ("I", "F") or picture.format in SIXTEEN_BIT_FORMATS)
    key = picture.info.get("transparency")
    if isinstance(key, int):
        gray = np.where(values == key, np.uint8(255), gray)
    return Image.fromarray(gray).convert("RGB")


def _eight_bits(values: NDArray[np.int32] | NDArray[np.float32], *, sixteen_bits: bool) -> NDArray[np.uint8]:
    if sixteen_bits:
        rounded: NDArray[np.int32] = (values.astype(np.int32) + 128) // 257
        return rounded.astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 65535) or (values.dtype.kind == "f" and high > 255):
        allowed = "0 to 1 or 0 to 255" if values.dtype.kind == "f" else "0 to 255 or 0 to 65535"
        raise ValueError(f"its values go from {low:g} to {high:g}, expected {allowed}; scale it first")
    if values.dtype.kind == "f":
        values = np.rint(values * (255.0 if high <= 1 else 1.0)).astype(np.int32)
    return _eight_bits(values, sixteen_bits=True) if values.max() > 255 else values.astype(np.uint8)
