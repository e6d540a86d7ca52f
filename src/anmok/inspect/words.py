"""Faults by words alone: is this part rather "flawless" or "damaged"? No picture of a good part is needed.

WinCLIP (Jeong et al. 2023, arXiv 2303.14814): states times templates make two mean texts; windows of several sizes are
compared with both; of the windows over a place the harmonic mean counts, so that one sound window is enough to acquit
it. Two differences: windows are encoded as pictures of their own (the paper masks the patches of a ViT), so that every
encoder will do; and the picture's score is the mean of that of the whole picture and the highest of the map, which the
paper uses where it has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

from anmok import progress
from anmok.embeddings import unit
from anmok.encoder import as_list
from anmok.errors import InspectionError, PictureError
from anmok.inspect.heat import enlarge
from anmok.inspect.inspection import Inspection, find_boxes
from anmok.pictures import picture_name, read
from anmok.texts import prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.encoder import Encoder, Picture

__all__ = ["WordInspector", "state_texts"]

# English and Korean states and templates together: `prompts` takes those in the language of the name.
GOOD = (
    *("{}", "flawless {}", "perfect {}", "unblemished {}", "{} without flaw", "{} without defect"),
    *("흠 없는 {}", "온전한 {}", "깨끗한 {}", "결함이 없는 {}", "손상이 없는 {}", "정상적인 {}"),
)
BAD = (
    *("damaged {}", "broken {}", "{} with flaw", "{} with defect", "scratched {}", "stained {}"),
    *("손상된 {}", "부서진 {}", "결함이 있는 {}", "불량인 {}", "긁힌 {}", "얼룩진 {}"),
)
TEMPLATES = (
    *("{}", "a photo of a {}.", "a photo of the {}.", "a cropped photo of a {}.", "a close-up photo of the {}."),
    *("{} 사진", "{}의 사진", "가까이에서 찍은 {}", "{}을(를) 찍은 사진"),
)

PLACES = 12  # rows and columns of the map: windows of a half and a third, moved by half their size, end on them
WINDOWS = ((6, 3), (4, 2))  # side and step, in places
LARGEST = 384  # longest side of the map, pixels


class WordInspector:
    """Inspects parts that were only named.

    There are no good pictures, so there is no p-value and no promise: a picture counts as faulty where the words for
    damage fit better than those for a flawless part (score above 0.5).
    """

    threshold = 0.5

    def __init__(self, encoder: Encoder, name: str) -> None:
        """Encode the states of `name`, such as "metal nut" or "너트".

        Raises:
            InspectionError: the name is empty.
        """
        if not name.strip():
            raise InspectionError("the object has no name: say what the pictures show, such as 'metal nut'")
        self.encoder = encoder
        self.name = name.strip()
        means = [encoder.encode_text(texts).vectors.mean(axis=0) for texts in state_texts(self.name)]
        self._states = unit(np.stack(means))  # good, bad

    def inspect(
        self, pictures: Picture | Sequence[Picture], *, on_error: Literal["raise", "skip"] = "raise"
    ) -> list[Inspection]:
        """As `Inspector.inspect`. The heat is 1 where damaged and flawless fit equally well, at most 2."""
        items = as_list(pictures)
        found = []
        with progress.task("inspecting", len(items)) as advance:
            for item in items:
                try:
                    picture = read(item)
                except PictureError as error:
                    if on_error == "raise":
                        raise
                    found.append(Inspection(error.picture, error=error.reason))
                else:
                    found.append(self._inspect(picture_name(item), picture))
                advance(1)
        return found

    def _inspect(self, name: str, picture: Image.Image) -> Inspection:
        boxes = [(0, 0, PLACES, PLACES), *(box for side, step in WINDOWS for box in _windows(side, step))]
        damaged = self._damaged(picture, boxes)
        whole, values = float(damaged[0]), _aggregate(boxes, damaged)
        score = (whole + float(values.max())) / 2
        scale = min(1.0, LARGEST / max(picture.size))
        size = max(1, round(picture.height * scale)), max(1, round(picture.width * scale))
        heat = enlarge(values / np.float32(self.threshold), size)
        fault = score > self.threshold
        where = find_boxes(heat, picture.size) if fault else ()
        return Inspection(name, score=score, fault=fault, boxes=where, heat=heat, size=picture.size)

    def _damaged(self, picture: Image.Image, boxes: Sequence[tuple[int, int, int, int]]) -> NDArray[np.float64]:
        """How much rather damaged than flawless each window is, [n] in 0..1: a softmax at the encoder's scale."""
        height, width = self.encoder.checkpoint.transform.size
        across, down = picture.width / PLACES, picture.height / PLACES
        crops = []
        for top, left, bottom, right in boxes:
            box = (left * across, top * down, right * across, bottom * down)
            crops.append(picture.resize((width, height), Image.Resampling.BICUBIC, box=box))
        with progress.quiet():
            vectors = self.encoder.encode_image(crops).vectors
        good, bad = (vectors @ self._states.T).astype(np.float64).T
        softmax: NDArray[np.float64] = 0.5 * (1 + np.tanh(self.encoder.logit_scale * (bad - good) / 2))
        return softmax


def state_texts(name: str) -> tuple[list[str], list[str]]:
    """The texts of a flawless and of a damaged object: states times templates, in the language of the name.

    >>> state_texts("너트")[1][4]
    '손상된 너트를 찍은 사진'
    """
    good, bad = (
        [text for state in prompts(states, name) for text in prompts(TEMPLATES, state)] for states in (GOOD, BAD)
    )
    return good, bad


def _windows(side: int, step: int) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom, right of windows, in places."""
    starts = range(0, PLACES - side + 1, step)
    return [(top, left, top + side, left + side) for top in starts for left in starts]


def _aggregate(boxes: Sequence[tuple[int, int, int, int]], damaged: NDArray[np.float64]) -> NDArray[np.float32]:
    """[PLACES, PLACES]: the harmonic mean of the windows over each place, size by size, then of the sizes."""
    inverse: dict[int, NDArray[np.float64]] = {}
    count: dict[int, NDArray[np.float64]] = {}
    for (top, left, bottom, right), score in zip(boxes, damaged, strict=True):
        side = bottom - top
        for table, value in ((inverse, 1 / max(score, 1e-6)), (count, 1.0)):
            table.setdefault(side, np.zeros((PLACES, PLACES)))[top:bottom, left:right] += value
    total: NDArray[np.float64] = np.mean([inverse[side] / count[side] for side in inverse], axis=0)
    return (1 / total).astype(np.float32)
