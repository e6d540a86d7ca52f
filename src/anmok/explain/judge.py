"""How good is a heat map? Curves that ask the model, points and areas that ask who knows where the thing is.

    deletion, insertion   does the score follow when the hottest places go first, or come first?
    pointing              is the hottest place on the thing?
    overlap               do the hot places cover the thing, and nothing else?

Sources: RISE (Petsiuk et al. 2018, arXiv 1806.07421, section 4.2); Top-down Neural Attention by Excitation Backprop
(Zhang et al. 2016, arXiv 1608.00507, section 4.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from anmok import progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.encoder import Encoder

__all__ = ["Box", "area", "deletion", "insertion", "overlap", "pointing"]

Box = tuple[int, int, int, int]  # top, left, bottom, right, in pixels of the map
STEPS = 16  # parts of the picture that go or come one after the other
BLUR = 0.12  # radius, of the shorter side: what insertion begins with


def deletion(
    encoder: Encoder,
    picture: Image.Image,
    toward: NDArray[np.float32],
    values: NDArray[np.float32],
    *,
    steps: int = STEPS,
) -> NDArray[np.float32]:
    """The score while the hottest places are painted in the picture's mean color, hottest first.

    Args:
        encoder: any.
        picture: RGB.
        toward: [d]; the score of an embedding is its product with it.
        values: [h, w], a map of the picture.
        steps: so many equal parts.

    Returns:
        [steps + 1], from the whole picture to nothing. The lower the area under it, the better the map.
    """
    mean = np.asarray(picture).reshape(-1, 3).mean(axis=0)
    empty = np.broadcast_to(mean.round().astype(np.uint8), (*values.shape, 3))
    return _curve(encoder, picture, empty, toward, values, steps=steps)


def insertion(
    encoder: Encoder,
    picture: Image.Image,
    toward: NDArray[np.float32],
    values: NDArray[np.float32],
    *,
    steps: int = STEPS,
) -> NDArray[np.float32]:
    """The score while the hottest places appear in a blurred copy, hottest first.

    Arguments as for `deletion`.

    Returns:
        [steps + 1], from the blurred picture to the whole. The higher the area under it, the better the map.
    """
    blurred = np.asarray(_sized(picture, values).filter(ImageFilter.GaussianBlur(BLUR * min(values.shape))))
    return _curve(encoder, picture, blurred, toward, -values, steps=steps)[::-1]


def area(curve: NDArray[np.float32]) -> float:
    """The area under a curve whose steps fill 0..1: its mean height."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def pointing(values: NDArray[np.float32], box: Box) -> bool:
    """Whether the hottest place lies in the box; of several equal ones, their share decides: half of them or more."""
    top, left, bottom, right = box
    hottest = values >= values.max()
    return bool(hottest[top:bottom, left:right].sum() * 2 >= hottest.sum())


def overlap(values: NDArray[np.float32], box: Box, *, share: float = 0.5) -> float:
    """Intersection over union, 0..1, of the box with what is at least `share` of the maximum."""
    top, left, bottom, right = box
    if values.max() <= 0:
        return 0.0
    hot = values >= share * values.max()
    inside = int(hot[top:bottom, left:right].sum())
    return inside / (int(hot.sum()) + (bottom - top) * (right - left) - inside)


def _curve(
    encoder: Encoder,
    picture: Image.Image,
    other: NDArray[np.uint8],
    toward: NDArray[np.float32],
    values: NDArray[np.float32],
    *,
    steps: int,
) -> NDArray[np.float32]:
    """Scores while pixels are replaced by those of `other`, the highest values first."""
    pixels = np.asarray(_sized(picture, values))
    order = np.argsort(-values, axis=None, kind="stable")
    rank = np.empty(order.size, np.int64)
    rank[order] = np.arange(order.size)
    place = rank.reshape(values.shape)
    cuts = np.linspace(0, order.size, steps + 1).round()
    changed = [np.where((place < cut)[:, :, None], other, pixels) for cut in cuts]
    with progress.quiet():
        scores: NDArray[np.float32] = encoder.encode_image(changed).vectors @ toward
    return scores


def _sized(picture: Image.Image, values: NDArray[np.float32]) -> Image.Image:
    height, width = values.shape
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BOX)
