"""Handwritten digits as pen strokes: skeletons with jitter, slant and turn, drawn with a round pen."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["draw_strokes", "strokes"]

# Each digit has several ways of being written, each way a row of strokes, each stroke points x,y in hundredths
# of a box (x to the right, y down). After "~" the pen turns smoothly through the points, after "-" it goes straight.
_WAYS: dict[int, tuple[str, ...]] = {
    0: (
        "~ 50,0 15,15 2,50 15,87 50,100 85,87 98,50 85,15 50,0",
        "~ 65,2 20,12 3,55 20,92 55,100 90,80 95,40 75,8 45,6",
    ),
    1: (
        "- 50,0 50,100",
        "- 20,28 55,0 55,100",
        "- 5,35 60,0 55,100",
        "- 20,25 52,0 52,100 - 15,100 90,100",
    ),
    2: (
        "~ 6,25 25,3 65,0 90,20 80,48 40,80 5,100 - 5,100 97,98",
        "~ 8,20 40,0 80,10 80,40 45,75 12,98 10,80 35,80 65,95 100,92",
        "~ 10,15 50,0 88,18 70,60 8,100 ~ 8,100 50,95 95,100",
    ),
    3: (
        "~ 8,12 45,0 85,12 80,36 40,48 ~ 40,48 85,58 93,80 55,100 5,90",
        "- 8,0 90,0 45,40 ~ 45,40 85,50 93,78 55,100 6,90",
        "~ 10,6 55,0 82,20 55,45 38,48 65,52 90,75 55,98 5,95",
    ),
    4: (
        "- 30,0 5,58 95,56 - 72,22 66,100",
        "- 68,100 72,0 4,66 98,66",
        "- 10,0 8,50 90,48 - 85,0 80,100",
        "~ 45,0 20,30 4,62 40,64 95,58 - 68,30 60,100",
    ),
    5: (
        "- 90,0 20,2 14,45 ~ 14,45 55,36 92,58 85,88 45,100 5,90",
        "- 22,0 14,42 ~ 14,42 60,40 90,68 60,98 5,95 - 20,0 95,2",
        "~ 95,3 35,0 20,35 65,45 85,70 55,97 6,98",
    ),
    6: (
        "~ 80,3 40,12 10,48 8,80 40,100 82,90 88,66 55,52 12,70",
        "~ 45,0 15,40 6,75 35,100 80,92 90,68 60,54 20,66 12,85",
        "~ 60,0 20,30 5,70 30,98 75,95 80,70 45,60 10,82",
    ),
    7: (
        "- 4,2 95,0 40,100",
        "- 4,4 95,0 40,100 - 28,50 88,46",
        "- 6,14 6,2 92,2 60,45 45,100",
        "~ 5,8 50,4 90,4 75,35 55,65 45,100 - 30,52 90,48",
    ),
    8: (
        "~ 52,48 14,28 30,2 72,2 86,26 50,48 10,74 30,99 72,99 92,74 52,48",
        "~ 84,14 50,0 18,20 50,46 86,74 50,100 14,78 50,48 86,14",
        "~ 50,0 20,20 50,45 80,20 50,0 ~ 50,45 8,72 50,100 92,72 50,45",
    ),
    9: (
        "~ 84,20 50,0 14,12 12,38 45,50 82,34 86,18 ~ 86,16 82,60 66,100",
        "~ 84,20 50,0 14,12 12,38 45,50 82,34 86,18 ~ 86,26 88,62 72,94 40,100 12,90",
        "~ 84,20 50,0 14,12 12,38 45,50 82,34 86,18 - 86,10 84,100",
        "~ 86,10 40,0 10,25 35,50 75,38 88,10 80,55 50,100",
    ),
}


def strokes(rng: np.random.Generator, digit: int) -> list[np.ndarray]:
    """A handwritten digit as pen strokes: dense points [k, 2], top left (0, 0) to bottom right (1, 1)."""
    way = _WAYS[digit][rng.integers(len(_WAYS[digit]))]
    jitter = rng.uniform(0.015, 0.05)
    slant, turn = rng.normal(0.12, 0.2), rng.normal(0, 0.1)
    aspect = rng.uniform(0.45, 0.9) if digit != 1 else rng.uniform(0.25, 0.6)
    shear = np.array([[1.0, 0.0], [-slant, 1.0]]) @ np.array(
        [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
    )
    drift = rng.normal(0, jitter / 2, size=2)
    lines = []
    for points, smooth in _parse(way):
        row = points + rng.normal(0, jitter, size=points.shape) + drift
        row = _spline(row) if smooth else _bend(row, rng.normal(0, 0.03))
        lines.append((row - 0.5) * [aspect, 1.0] @ shear)
    every = np.concatenate(lines)
    low, height = every.min(axis=0), max(float(np.ptp(every[:, 1])), 1e-3)
    middle = (low[0] + every[:, 0].max()) / 2
    wide = max(float(np.ptp(every[:, 0])), height)  # a digit wider than high is fitted by its width
    return [(line - [middle, low[1]]) / wide + [0.5, (1 - height / wide) / 2] for line in lines]


def _parse(way: str) -> list[tuple[np.ndarray, bool]]:
    found: list[tuple[list[list[float]], bool]] = []
    for word in way.split():
        if word in ("~", "-"):
            found.append(([], word == "~"))
        else:
            found[-1][0].append([int(value) / 100 for value in word.split(",")])
    return [(np.array(points), smooth) for points, smooth in found]


def _spline(points: np.ndarray, steps: int = 12) -> np.ndarray:
    """Catmull-Rom curve through the points, [k, 2]."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate(pieces)


def _bend(points: np.ndarray, amount: float, steps: int = 12) -> np.ndarray:
    """Straight lines between the points, each bowed a little to one side, [k, 2]."""
    t = np.linspace(0, 1, steps)[:, None]
    pieces = []
    for start, end in pairwise(points):
        along = end - start
        side = np.array([-along[1], along[0]])
        pieces.append(start + along * t + side * amount * 4 * t * (1 - t))
    return np.concatenate(pieces)


def draw_strokes(lines: list[np.ndarray], side: int, thickness: float, margin: float) -> Image.Image:
    """Gray picture `side` pixels square, ink 255 on 0; thickness and margin are shares of the side."""
    scale = 4
    canvas = Image.new("L", (side * scale, side * scale))
    pen, inset = ImageDraw.Draw(canvas), (margin + thickness / 2) * side * scale
    radius = thickness * side * scale / 2
    for line in lines:
        dots = [tuple(dot) for dot in inset + line * (side * scale - 2 * inset)]
        pen.line(dots, fill=255, width=max(1, round(2 * radius)), joint="curve")
        for x, y in (dots[0], dots[-1]):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return canvas.resize((side, side), Image.Resampling.BOX)
