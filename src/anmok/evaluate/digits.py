"""scikit-learn's handwritten digits (1,797 pictures of 8x8), named in English and Korean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.classify import Label
from anmok.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DIGITS", "digit_pictures"]

_ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_KOREAN = ("영", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")
DIGITS = {  # each by its figure and its word, as a person would call it
    "en": [Label(f"the number {digit}", (f"the digit {word}",)) for digit, word in enumerate(_ENGLISH)],
    "ko": [Label(f"숫자 {digit}", (f"숫자 {word}",)) for digit, word in enumerate(_KOREAN)],
}
SIDE = 128  # pixels


def digit_pictures() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The digits as scikit-learn has them (bright ink on black, 8x8), enlarged smoothly.

    Returns:
        uint8 [1797, 128, 128, 3], and which digit each is, int64 [1797].

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("scikit-learn", "evaluate", "evaluating on handwritten digits") from error
    from PIL import Image

    ink, digits = load_digits(return_X_y=True)  # [1797, 64] in 0..16
    gray = (ink.reshape(-1, 8, 8) * (255 / 16)).round().astype(np.uint8)
    large = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in gray]
    return np.repeat(np.stack(large)[..., None], 3, axis=3), digits.astype(np.int64)
