"""Everyday pictures and texts that are shipped: what encoders are calibrated and compared on.

`data/background.webp` is a sheet of 96 small pictures (sources and licenses in `background.csv`), `background.txt` has
238 short texts, English and Korean. They have nothing to do with each other.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["KINDS", "PICTURES", "SHEET", "everyday_photographs", "everyday_pictures", "everyday_texts"]

DATA = Path(__file__).parent / "data"
SHEET = DATA / "background.webp"
TILE = 96  # pixels
PICTURES = 96  # squares on the sheet
KINDS = (  # of what is on the sheet: a small zero-shot task
    "fruit and vegetables", "a dish of food", "a piece of clothing", "a group of people", "a person alone",
    "a building", "a room", "a street", "a drawing of children", "an animal", "an icon", "a machine",
)  # fmt: skip


def everyday_texts() -> list[str]:
    """English and Korean in turn."""
    lines = (DATA / "background.txt").read_text(encoding="utf-8").splitlines()
    return [text.strip() for line in lines if not line.startswith("#") for text in line.split("|") if text.strip()]


def everyday_photographs(count: int) -> Iterator[bytes]:
    """JPEGs of 14 million pixels, as large as a camera's and as full of detail: the sheet 16 times, moved about."""
    from PIL import Image

    sheet = _sheet()
    for number in range(count):
        moved = np.roll(sheet, (37 * number, 101 * number), axis=(0, 1))
        mirrored = moved[:, ::-1] if number % 2 else moved
        file = io.BytesIO()
        Image.fromarray(np.tile(mirrored, (4, 4, 1))).save(file, "JPEG", quality=90)
        yield file.getvalue()


def everyday_pictures() -> list[NDArray[np.uint8]]:
    """uint8 [96, 96, 3] each."""
    sheet = _sheet()
    tops, lefts = (range(0, side, TILE) for side in sheet.shape[:2])
    return [sheet[top : top + TILE, left : left + TILE] for top in tops for left in lefts]


def _sheet() -> NDArray[np.uint8]:
    from PIL import Image

    with Image.open(SHEET) as image:
        return np.asarray(image.convert("RGB"))
