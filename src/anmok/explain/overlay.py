"""Colors of a heat map: evenly spaced for the eye, over a picture that stays recognisable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["color_of", "overlay", "scale"]

OPACITY = 0.8  # of the strongest place; of weaker ones in proportion
VEIL = 0.72  # over what the model did not see
PAPER = np.array([236, 234, 228], np.float32)  # color of the veil

# Lightness, chroma and hue (degrees) in OKLCH from weak to strong: equal steps in lightness look like equal steps.
FOR = ((0.42, 0.16, 340.0), (0.92, 0.17, 460.0))  # plum, red, orange, yellow (460 is 100 once around)
AGAINST = ((0.42, 0.12, 275.0), (0.88, 0.12, 200.0))  # indigo, blue, cyan

# OKLab → cone responses (cubed) → linear sRGB. Source: Björn Ottosson, "A perceptual color space for image
# processing" (2020), https://bottosson.github.io/posts/oklab/
CONES = np.array(
    [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
)
LINEAR = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def overlay(picture: Image.Image, values: NDArray[np.float32], seen: tuple[int, int, int, int]) -> Image.Image:
    """Lay a map over its RGB picture, in the picture's size.

    Args:
        picture: RGB, of any size.
        values: float32 [h, w] in -1..1, resized to the picture.
        seen: top, left, bottom, right in pixels of `values`; the rest is veiled.
    """
    heat = np.asarray(Image.fromarray(values).resize(picture.size, Image.Resampling.BILINEAR))
    gray = np.asarray(picture.convert("L"), np.float32)[:, :, None]
    base = 0.75 * gray + 0.25 * np.asarray(picture, np.float32)
    opacity = OPACITY * np.abs(heat)[:, :, None]
    mixed = base * (1 - opacity) + 255 * color_of(heat) * opacity
    mask = np.ones(values.shape, np.uint8)
    top, left, bottom, right = seen
    mask[top:bottom, left:right] = 0
    unseen = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST), bool)
    mixed[unseen] = (1 - VEIL) * base[unseen] + VEIL * PAPER
    return Image.fromarray(np.clip(mixed + 0.5, 0, 255).astype(np.uint8))


def color_of(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Values in -1..1 → sRGB in 0..1, one axis more."""
    strong = np.clip(np.abs(values), 0, 1)[..., None]
    ends = [np.where(values[..., None] < 0, against, for_) for against, for_ in zip(AGAINST, FOR, strict=True)]
    lightness, chroma, hue = np.moveaxis(ends[0] + strong * (ends[1] - ends[0]), -1, 0)
    angle = np.radians(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=-1)
    linear = np.clip((lab @ CONES.T) ** 3 @ LINEAR.T, 0, 1)
    rgb: NDArray[np.float32] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    ).astype(np.float32)
    return rgb


def scale(*, signed: bool) -> list[str]:
    """The colors from weakest to strongest, or from strongest against to strongest for, as CSS writes them."""
    values = np.linspace(-1 if signed else 0, 1, 17 if signed else 9)
    return ["rgb({}, {}, {}, {})".format(*_css(value)) for value in values]


def _css(value: float) -> tuple[int, int, int, float]:
    r, g, b = (round(255 * float(part)) for part in color_of(np.array(value)))
    return r, g, b, round(abs(value), 2)
