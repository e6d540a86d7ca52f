"""Measures of maps, on maps whose measures are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from anmok.explain.judge import area, deletion, insertion, overlap, pointing

BOX = (10, 20, 30, 50)  # 20 high, 30 wide


def box_map(height: int = 40, width: int = 60) -> np.ndarray:
    values = np.zeros((height, width), np.float32)
    values[10:30, 20:50] = 1
    return values


def test_pointing():
    values = np.zeros((40, 60), np.float32)
    values[15, 25] = 1
    assert pointing(values, BOX)
    values[35, 55] = 2
    assert not pointing(values, BOX)


def test_pointing_of_a_map_that_is_the_same_everywhere_is_no_hit():
    assert not pointing(np.zeros((40, 60), np.float32), BOX)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (box_map(), 1.0),
        (np.ones((40, 60), np.float32), 600 / 2400),
        (np.roll(box_map(), 15, axis=1) * (np.arange(60) >= 35), 300 / 800),  # half of it, and more beside it
        (1 - box_map(), 0.0),
        (np.zeros((40, 60), np.float32), 0.0),
        (-box_map(), 0.0),
    ],
)  # fmt: skip
def test_overlap(values, expected):
    assert overlap(values, BOX) == pytest.approx(expected)


def test_area_is_the_mean_height():
    assert area(np.array([1.0, 1.0, 1.0])) == 1
    assert area(np.array([1.0, 0.0])) == 0.5
    assert area(np.array([1.0, 0.0, 0.0])) == 0.25


class Brightness:
    """An encoder whose score is how much of the picture's white square is there."""

    def encode_image(self, pictures):
        rows = [[np.asarray(picture)[10:30, 20:50, 0].mean() / 255] for picture in pictures]
        return SimpleNamespace(vectors=np.array(rows, np.float32))


def test_curves_of_the_right_map_fall_and_rise_at_once():
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:30, 20:50] = 255
    picture, toward = Image.fromarray(pixels), np.ones(1, np.float32)
    right, wrong = box_map(), 1 - box_map()
    gone = deletion(Brightness(), picture, toward, right, steps=4)  # the square is a quarter of the picture
    assert gone[0] == 1
    assert gone[1:] == pytest.approx([0.25] * 4, abs=0.01)  # its place has the mean color
    assert area(gone) < area(deletion(Brightness(), picture, toward, wrong, steps=4))
    come = insertion(Brightness(), picture, toward, right, steps=4)
    assert come[0] < 1
    assert come[1:] == pytest.approx([1.0] * 4, abs=0.01)
    assert area(come) > area(insertion(Brightness(), picture, toward, wrong, steps=4))
