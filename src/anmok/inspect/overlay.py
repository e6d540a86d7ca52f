"""What was found, drawn over the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from anmok.pictures import read

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Picture
    from anmok.inspect.inspection import Inspection

__all__ = ["heat_layer", "overlay"]

COOL, HOT = 0.8, 1.6  # heat from which on color begins, and where it is strongest
YELLOW, RED = (255, 214, 10), (215, 20, 30)
STRONGEST = 190  # of 255, opacity


def heat_layer(heat: NDArray[np.float32]) -> Image.Image:
    """A heat map as an RGBA picture of its size: clear where it is good, yellow near the threshold, red above."""
    strength = np.clip((heat - COOL) / (HOT - COOL), 0, 1)[..., None]
    color = (1 - strength) * np.array(YELLOW) + strength * np.array(RED)
    pixels = np.concatenate([color, STRONGEST * np.sqrt(strength)], axis=-1)
    return Image.fromarray(pixels.round().astype(np.uint8))


def overlay(picture: Picture, inspection: Inspection) -> Image.Image:
    """The picture in its own size with the heat map and the boxes over it.

    Raises:
        PictureError: the picture cannot be used.
    """
    image = read(picture).convert("RGBA")
    layer = heat_layer(inspection.heat).resize(image.size, Image.Resampling.BILINEAR)
    drawn = Image.alpha_composite(image, layer).convert("RGB")
    pen, thick = ImageDraw.Draw(drawn), max(1, round(max(image.size) / 200))
    for box in inspection.boxes:
        pen.rectangle((box.left, box.top, box.right - 1, box.bottom - 1), outline=RED, width=thick)
    return drawn
