"""Is a picture worth learning from? Size, shape, light and sharpness, each as one number with a unit.

Sharpness is the standard deviation of the Laplacian over that of the gradient: the mean spatial frequency of the
picture, in radians per pixel. The variance of the Laplacian alone (Pech-Pacheco et al. 2000, "Diatom autofocusing in
brightfield microscopy") grows with contrast and with the amount of detail, so that a calm sharp picture looks blurred;
the ratio does not. What a camera blurs by many pixels shows only after shrinking, so the lowest of several
sizes counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.clean.settings import CleanSettings

__all__ = ["VIEW_SIDE", "Quality", "judge_picture", "measure_quality", "view"]

VIEW_SIDE = 256  # shorter side that everything is measured on: about what models are trained with, 224
SMALLEST_SIDE = 32  # a picture says nothing about sharpness when it is shrunk below
ROUNDING = 1 / 12  # variance of what is lost by rounding to whole gray levels
SHARP = 2.0  # what a picture without any edge counts as: it is blank, not blurred


@dataclass(frozen=True)
class Quality:
    """What was measured on one picture.

    `width`, `height`: pixels, of the picture itself.
    `contrast`: gray levels 0..255 between the first and the last hundredth, in the widest color channel.
    `dark`, `bright`: gray level that 1% and 99% of the pixels stay below.
    `sharpness`: mean spatial frequency, radians per pixel, 0..2.8.
    """

    width: int
    height: int
    contrast: float
    dark: float
    bright: float
    sharpness: float


def view(picture: Image.Image) -> Image.Image:
    """The picture shrunk to `VIEW_SIDE` on its shorter side; a smaller one as it is."""
    side = min(picture.size)
    if side <= VIEW_SIDE:
        return picture
    width, height = (max(1, round(length * VIEW_SIDE / side)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.BOX, reducing_gap=2.0)


def measure_quality(small: Image.Image, size: tuple[int, int]) -> Quality:
    """Measure a picture.

    Args:
        small: RGB, from `view`.
        size: width and height of the picture itself.
    """
    low, high = np.percentile(np.asarray(small).reshape(-1, 3), (1, 99), axis=0)  # [3] each
    gray = np.asarray(small.convert("L"), np.float32)
    dark, bright = np.percentile(gray, (1, 99))
    return Quality(*size, float((high - low).max()), float(dark), float(bright), _sharpness(gray))


def judge_picture(quality: Quality, settings: CleanSettings) -> tuple[str, str] | None:
    """The first reason to drop the picture and what was measured, or None."""
    short, long = sorted((quality.width, quality.height))
    size = f"{quality.width} x {quality.height}"
    found = {
        "low resolution": short < settings.min_side and f"{size} pixels, below {settings.min_side}",
        "extreme shape": long > settings.max_aspect * short
        and f"{size} pixels, {long / short:.1f} to 1, above {settings.max_aspect:g}",
        "blank": quality.contrast < settings.min_contrast
        and f"contrast {quality.contrast:.0f} of 255, below {settings.min_contrast:g}",
        "too dark": quality.bright < settings.max_dark
        and f"99% of it below gray level {quality.bright:.0f} of 255, itself below {settings.max_dark:g}",
        "too bright": quality.dark > settings.min_bright
        and f"99% of it above gray level {quality.dark:.0f} of 255, itself above {settings.min_bright:g}",
        "blurred": quality.sharpness < settings.min_sharpness
        and f"sharpness {quality.sharpness:.2f}, below {settings.min_sharpness:g}",
    }
    return next(((name, text) for name, text in found.items() if text and name not in settings.keep), None)


def _sharpness(gray: NDArray[np.float32]) -> float:
    """The lowest over the sizes of a pyramid of halves."""
    rounding = ROUNDING
    lowest = _frequency(gray, rounding)
    while min(gray.shape) >= 2 * SMALLEST_SIDE:
        height, width = (length // 2 * 2 for length in gray.shape)
        gray = gray[:height, :width].reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        rounding /= 4
        lowest = min(lowest, _frequency(gray, rounding))
    return lowest


def _frequency(gray: NDArray[np.float32], rounding: float) -> float:
    """Root of the energy of the Laplacian over that of the gradient, both without what rounding adds.

    A strongly blurred picture has so little of both that the steps between whole gray levels would pass for detail.
    White noise of variance v adds 20 v to the energy of the Laplacian (1 + 1 + 1 + 1 + 16) and 4 v to the other.
    """
    if min(gray.shape) < 3:
        return SHARP
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * gray[1:-1, 1:-1]
    across, down = np.diff(gray, axis=1), np.diff(gray, axis=0)
    detail = float(np.mean(laplacian**2)) - 20 * rounding
    gradient = float(np.mean(across**2) + np.mean(down**2)) - 4 * rounding
    return float(np.sqrt(max(detail, 0) / gradient)) if gradient > 0 else SHARP
