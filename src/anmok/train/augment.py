"""How a training picture is varied before it is resized as the model asks, with Pillow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image, ImageEnhance

if TYPE_CHECKING:
    import numpy as np

    from anmok.train.recipe import AugmentConfig

__all__ = ["augment"]

GRAY = (124, 116, 104)  # the mean color of photographs (ImageNet's), for what is erased or turned in


def augment(picture: Image.Image, config: AugmentConfig, random: np.random.Generator) -> Image.Image:
    """One random variation of an RGB picture; its size changes with the crop.

    Every number is drawn whether it is used or not, so that one option does not change what another one does.
    """
    area, ratio, left, top, mirror, turn, gray, erase = random.random(8)
    color = random.uniform(-1, 1, 3)
    if config.turn:
        picture = picture.rotate((2 * turn - 1) * config.turn, Image.Resampling.BILINEAR, fillcolor=GRAY)
    picture = picture.crop(_box(picture.size, config, (area, ratio, left, top)))
    if mirror < config.mirror:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if config.color:
        for enhance, amount in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), color, strict=True
        ):
            picture = enhance(picture).enhance(math.exp(config.color * amount))
    if gray < config.gray:
        picture = picture.convert("L").convert("RGB")
    if erase < config.erase:
        picture = _erased(picture, random)
    return picture


def _box(size: tuple[int, int], config: AugmentConfig, numbers: tuple[float, ...]) -> tuple[int, int, int, int]:
    """The part that is kept: a share of the area, stretched by a ratio, anywhere inside.

    As torchvision's RandomResizedCrop, but the ratio is relative to the picture's own: a tall picture stays tall. Where
    the stretched part does not fit, it is as large as fits.
    """
    width, height = size
    low, high = config.scale
    area, ratio, left, top = numbers
    side = math.sqrt(low + (high - low) * area)
    stretch = math.exp(math.log(config.ratio[0]) + ratio * (math.log(config.ratio[1]) - math.log(config.ratio[0])))
    wide = max(1, min(width, round(width * side * math.sqrt(stretch))))
    tall = max(1, min(height, round(height * side / math.sqrt(stretch))))
    x, y = round(left * (width - wide)), round(top * (height - tall))
    return x, y, x + wide, y + tall


def _erased(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    width, height = picture.size
    wide, tall = (
        max(1, int(side * share)) for side, share in zip(picture.size, random.uniform(0.15, 0.45, 2), strict=True)
    )
    x, y = int(random.integers(0, width - wide + 1)), int(random.integers(0, height - tall + 1))
    hidden = picture.copy()
    hidden.paste(GRAY, (x, y, x + wide, y + tall))
    return hidden
