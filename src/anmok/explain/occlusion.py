"""Occlusion: cover a part of the picture, and see how far the score falls.

It asks the model itself, needs no gradients and works with every tower and every engine.

Source: Visualizing and Understanding Convolutional Networks (Zeiler and Fergus 2013, arXiv 1311.2901, section 4.2). The
cover is a blurred copy of the picture, as in Interpretable Explanations of Black Boxes by Meaningful Perturbation (Fong
and Vedaldi 2017, arXiv 1704.03296): gray squares are things to be recognised, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from anmok import progress
from anmok.explain.heatmap import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = ["ENCODINGS", "occlusion"]

ENCODINGS = 200  # of the picture, at most
WINDOW = 3  # cells along one side of the cover, which moves on cell by cell
BLUR = 0.12  # radius, of the shorter side that the model sees
BATCH = 32


def occlusion(encoder: Encoder, picture: Image.Image, toward: NDArray[np.float32]) -> Grid:
    """The fall of `embedding · toward` under each cell, as the mean of the covers that lie over it.

    Args:
        encoder: any.
        picture: RGB.
        toward: [d], the direction whose score is explained.
    """
    picture = _as_needed(encoder, picture)
    window = encoder.checkpoint.transform.window((picture.height, picture.width))
    (top, bottom), (left, right) = window
    rows, columns = _cells((bottom - top) / (right - left))
    lines, posts = np.linspace(top, bottom, rows + 1), np.linspace(left, right, columns + 1)
    side = min(bottom - top, right - left, *picture.size)
    blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(max(1.0, BLUR * side))))
    pixels = np.asarray(picture)
    covers = [  # first and last cell, along rows and columns, those at the border reach beyond it
        (max(0, r - WINDOW + 1), min(rows, r + 1), max(0, c - WINDOW + 1), min(columns, c + 1))
        for r in range(rows + WINDOW - 1)
        for c in range(columns + WINDOW - 1)
    ]
    before = float((encoder.encode_image(picture).vectors @ toward)[0])
    total, count = np.zeros((rows, columns), np.float32), np.zeros((rows, columns), np.float32)
    with progress.task("covering parts of the picture", len(covers)) as advance:
        for start in range(0, len(covers), BATCH):
            batch = covers[start : start + BATCH]
            covered = [
                _covered(pixels, blurred, (lines[top], lines[bottom], posts[left], posts[right]))
                for top, bottom, left, right in batch
            ]
            with progress.quiet():
                after = encoder.encode_image(covered, batch_size=BATCH).vectors @ toward
            for (top, bottom, left, right), score in zip(batch, after, strict=True):
                total[top:bottom, left:right] += before - score
                count[top:bottom, left:right] += 1
            advance(len(batch))
    return Grid(total / count)


def _as_needed(encoder: Encoder, picture: Image.Image) -> Image.Image:
    """A copy no larger than the model can use, so that it is quickly transformed again and again."""
    height, width = encoder.checkpoint.transform.needed((picture.height, picture.width))
    if height >= picture.height or width >= picture.width:
        return picture
    return picture.resize((width, height), Image.Resampling.BOX)


def _cells(aspect: float) -> tuple[int, int]:
    """Rows and columns for a picture of that height by width: square cells, as many as ENCODINGS allow."""
    best = (1, 1)
    for cells in range(1, ENCODINGS):
        rows, columns = max(1, round(cells * min(1.0, aspect))), max(1, round(cells * min(1.0, 1 / aspect)))
        if (rows + WINDOW - 1) * (columns + WINDOW - 1) >= ENCODINGS:  # one more is the picture as it is
            break
        best = (rows, columns)
    return best


def _covered(
    pixels: NDArray[np.uint8], cover: NDArray[np.uint8], box: tuple[float, float, float, float]
) -> NDArray[np.uint8]:
    top, bottom, left, right = (max(0, round(edge)) for edge in box)
    result = pixels.copy()
    result[top:bottom, left:right] = cover[top:bottom, left:right]
    return result
