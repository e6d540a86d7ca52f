"""Drawn training pictures with exact captions in English and Korean: digits, scenes of shapes, words.

Nothing here is copied from a data set. Every function takes a NumPy generator and draws the
same picture again from the same seed; captions say only what is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["COLORS", "DIGITS", "SHAPES", "Drawn", "draw_digit", "draw_scene", "draw_word", "strokes"]

SIDE = 112  # pixels of a drawn picture
Point = tuple[float, float]
Color = tuple[int, int, int]


@dataclass(frozen=True)
class Drawn:
    """One drawn picture: RGB, `SIDE` pixels square, with captions that are all true of it."""

    picture: Image.Image
    english: tuple[str, ...]
    korean: tuple[str, ...]
    subject: str  # equal for pictures that share all captions, for example "digit 3"


# --- digits ---------------------------------------------------------------------------------

DIGITS: tuple[tuple[str, str], ...] = (
    ("zero", "영"),
    ("one", "일"),
    ("two", "이"),
    ("three", "삼"),
    ("four", "사"),
    ("five", "오"),
    ("six", "육"),
    ("seven", "칠"),
    ("eight", "팔"),
    ("nine", "구"),
)

# Pen strokes in a unit box (x to the right, y down): each a row of points and whether the pen turns
# smoothly through them. A digit has several ways of being written.
_Stroke = tuple[tuple[Point, ...], bool]
_HOOK = ((0.86, 0.26), (0.88, 0.62), (0.72, 0.94), (0.4, 1.0), (0.12, 0.9))
_BOWL_9 = ((0.84, 0.2), (0.5, 0.0), (0.14, 0.12), (0.12, 0.38), (0.45, 0.5), (0.82, 0.34), (0.86, 0.18))
_WAYS: dict[int, tuple[tuple[_Stroke, ...], ...]] = {
    0: (
        ((((0.5, 0.0), (0.15, 0.15), (0.02, 0.5), (0.15, 0.87), (0.5, 1.0), (0.85, 0.87), (0.98, 0.5), (0.85, 0.15), (0.5, 0.0)), True),),
        ((((0.65, 0.02), (0.2, 0.12), (0.03, 0.55), (0.2, 0.92), (0.55, 1.0), (0.9, 0.8), (0.95, 0.4), (0.75, 0.08), (0.45, 0.06)), True),),
    ),
    1: (
        ((((0.5, 0.0), (0.5, 1.0)), False),),
        ((((0.2, 0.28), (0.55, 0.0), (0.55, 1.0)), False),),
        ((((0.05, 0.35), (0.6, 0.0), (0.55, 1.0)), False),),
        ((((0.2, 0.25), (0.52, 0.0), (0.52, 1.0)), False), (((0.15, 1.0), (0.9, 1.0)), False)),
    ),
    2: (
        ((((0.06, 0.25), (0.25, 0.03), (0.65, 0.0), (0.9, 0.2), (0.8, 0.48), (0.4, 0.8), (0.05, 1.0)), True), (((0.05, 1.0), (0.97, 0.98)), False)),
        ((((0.08, 0.2), (0.4, 0.0), (0.8, 0.1), (0.8, 0.4), (0.45, 0.75), (0.12, 0.98), (0.1, 0.8), (0.35, 0.8), (0.65, 0.95), (1.0, 0.92)), True),),
        ((((0.1, 0.15), (0.5, 0.0), (0.88, 0.18), (0.7, 0.6), (0.08, 1.0)), True), (((0.08, 1.0), (0.5, 0.95), (0.95, 1.0)), True)),
    ),
    3: (
        ((((0.08, 0.12), (0.45, 0.0), (0.85, 0.12), (0.8, 0.36), (0.4, 0.48)), True), (((0.4, 0.48), (0.85, 0.58), (0.93, 0.8), (0.55, 1.0), (0.05, 0.9)), True)),
        ((((0.08, 0.0), (0.9, 0.0), (0.45, 0.4)), False), (((0.45, 0.4), (0.85, 0.5), (0.93, 0.78), (0.55, 1.0), (0.06, 0.9)), True)),
        ((((0.1, 0.06), (0.55, 0.0), (0.82, 0.2), (0.55, 0.45), (0.38, 0.48), (0.65, 0.52), (0.9, 0.75), (0.55, 0.98), (0.05, 0.95)), True),),
    ),
    4: (
        ((((0.3, 0.0), (0.05, 0.58), (0.95, 0.56)), False), (((0.72, 0.22), (0.66, 1.0)), False)),
        ((((0.68, 1.0), (0.72, 0.0), (0.04, 0.66), (0.98, 0.66)), False),),
        ((((0.1, 0.0), (0.08, 0.5), (0.9, 0.48)), False), (((0.85, 0.0), (0.8, 1.0)), False)),
        ((((0.45, 0.0), (0.2, 0.3), (0.04, 0.62), (0.4, 0.64), (0.95, 0.58)), True), (((0.68, 0.3), (0.6, 1.0)), False)),
    ),
    5: (
        ((((0.9, 0.0), (0.2, 0.02), (0.14, 0.45)), False), (((0.14, 0.45), (0.55, 0.36), (0.92, 0.58), (0.85, 0.88), (0.45, 1.0), (0.05, 0.9)), True)),
        ((((0.22, 0.0), (0.14, 0.42)), False), (((0.14, 0.42), (0.6, 0.4), (0.9, 0.68), (0.6, 0.98), (0.05, 0.95)), True), (((0.2, 0.0), (0.95, 0.02)), False)),
        ((((0.95, 0.03), (0.35, 0.0), (0.2, 0.35), (0.65, 0.45), (0.85, 0.7), (0.55, 0.97), (0.06, 0.98)), True),),
    ),
    6: (
        ((((0.8, 0.03), (0.4, 0.12), (0.1, 0.48), (0.08, 0.8), (0.4, 1.0), (0.82, 0.9), (0.88, 0.66), (0.55, 0.52), (0.12, 0.7)), True),),
        ((((0.45, 0.0), (0.15, 0.4), (0.06, 0.75), (0.35, 1.0), (0.8, 0.92), (0.9, 0.68), (0.6, 0.54), (0.2, 0.66), (0.12, 0.85)), True),),
        ((((0.6, 0.0), (0.2, 0.3), (0.05, 0.7), (0.3, 0.98), (0.75, 0.95), (0.8, 0.7), (0.45, 0.6), (0.1, 0.82)), True),),
    ),
    7: (
        ((((0.04, 0.02), (0.95, 0.0), (0.4, 1.0)), False),),
        ((((0.04, 0.04), (0.95, 0.0), (0.4, 1.0)), False), (((0.28, 0.5), (0.88, 0.46)), False)),
        ((((0.06, 0.14), (0.06, 0.02), (0.92, 0.02), (0.6, 0.45), (0.45, 1.0)), False),),
        ((((0.05, 0.08), (0.5, 0.04), (0.9, 0.04), (0.75, 0.35), (0.55, 0.65), (0.45, 1.0)), True), (((0.3, 0.52), (0.9, 0.48)), False)),
    ),
    8: (
        ((((0.52, 0.48), (0.14, 0.28), (0.3, 0.02), (0.72, 0.02), (0.86, 0.26), (0.5, 0.48), (0.1, 0.74), (0.3, 0.99), (0.72, 0.99), (0.92, 0.74), (0.52, 0.48)), True),),
        ((((0.84, 0.14), (0.5, 0.0), (0.18, 0.2), (0.5, 0.46), (0.86, 0.74), (0.5, 1.0), (0.14, 0.78), (0.5, 0.48), (0.86, 0.14)), True),),
        ((((0.5, 0.0), (0.2, 0.2), (0.5, 0.45), (0.8, 0.2), (0.5, 0.0)), True), (((0.5, 0.45), (0.08, 0.72), (0.5, 1.0), (0.92, 0.72), (0.5, 0.45)), True)),
    ),
    9: (
        ((_BOWL_9, True), (((0.86, 0.16), (0.82, 0.6), (0.66, 1.0)), True)),
        ((_BOWL_9, True), (_HOOK, True)),
        ((_BOWL_9, True), (((0.86, 0.1), (0.84, 1.0)), False)),
        ((((0.86, 0.1), (0.4, 0.0), (0.1, 0.25), (0.35, 0.5), (0.75, 0.38), (0.88, 0.1), (0.8, 0.55), (0.5, 1.0)), True),),
    ),
}


def strokes(rng: np.random.Generator, digit: int) -> list[np.ndarray]:
    """A handwritten digit as pen strokes: dense points [k, 2], top left (0, 0) to bottom right (1, 1)."""
    way = _WAYS[digit][rng.integers(len(_WAYS[digit]))]
    jitter = rng.uniform(0.015, 0.05)
    slant, turn = rng.normal(0.12, 0.2), rng.normal(0, 0.1)
    aspect = rng.uniform(0.45, 0.9) if digit != 1 else rng.uniform(0.25, 0.6)
    shear = np.array([[1.0, 0.0], [-slant, 1.0]]) @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    drift = rng.normal(0, jitter / 2, size=2)
    lines = []
    for points, smooth in way:
        row = np.array(points) + rng.normal(0, jitter, size=(len(points), 2)) + drift
        row = _spline(row) if smooth else _bend(row, rng.normal(0, 0.03))
        lines.append((row - 0.5) * [aspect, 1.0] @ shear)
    every = np.concatenate(lines)
    low, height = every.min(axis=0), max(float(np.ptp(every[:, 1])), 1e-3)
    middle = (low[0] + every[:, 0].max()) / 2
    wide = max(float(np.ptp(every[:, 0])), height)  # a digit wider than high is fitted by its width
    return [(line - [middle, low[1]]) / wide + [0.5, (1 - height / wide) / 2] for line in lines]


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
    for start, end in zip(points, points[1:], strict=False):
        along = end - start
        side = np.array([-along[1], along[0]])
        pieces.append(start + along * t + side * amount * 4 * t * (1 - t))
    return np.concatenate(pieces)


def _ink(lines: list[np.ndarray], side: int, thickness: float, margin: float) -> Image.Image:
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


def draw_digit(rng: np.random.Generator, digit: int, font: Path | None = None) -> Drawn:
    """A digit: written by a pen at 8, 28 or `SIDE` pixels, or (one in eight) printed in a font."""
    kind = rng.choice(["tiny", "small", "paper", "print"], p=[0.45, 0.25, 0.175, 0.125])
    name, korean = DIGITS[digit]
    if kind == "print":
        picture = _type(rng, str(digit), font)
        how_english, how_korean = "printed", "인쇄된"
    else:
        picture = _write(rng, digit, str(kind))
        how_english, how_korean = "handwritten", "손으로 쓴"
    english = (f"the digit {name}", f"the number {digit}", f"{digit}", name, f"a {how_english} {digit}", f"a {how_english} digit {name}")
    hangul = (f"숫자 {digit}", f"숫자 {korean}", f"{how_korean} 숫자 {digit}", f"{how_korean} 숫자 {korean}", f"{how_korean} {digit}")
    return Drawn(picture, english, hangul, f"{how_english} digit {digit}")


def _write(rng: np.random.Generator, digit: int, kind: str) -> Image.Image:
    lines = strokes(rng, digit)
    if kind == "tiny":  # as small optical readers store them: a 32-pixel bitmap counted in blocks of 4 x 4
        ink = np.asarray(_ink(lines, 32, rng.uniform(0.08, 0.17), 0.0)) > 100
        small = Image.fromarray((ink.reshape(8, 4, 8, 4).sum(axis=(1, 3)) * (255 / 16)).astype(np.uint8))
    elif kind == "small":
        small = _ink(lines, 28, rng.uniform(0.06, 0.14), rng.uniform(0.05, 0.2))
    else:
        small = _ink(lines, SIDE, rng.uniform(0.04, 0.14), rng.uniform(0.03, 0.25))
    ink = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)[:, :, None] / 255
    if kind != "paper":
        back, fore = (np.zeros(3), np.full(3, 255.0)) if rng.random() < 0.75 else (np.full(3, 255.0), np.zeros(3))
    else:
        back, fore = rng.uniform(190, 255, 3), rng.uniform(0, 90, 3)
        if rng.random() < 0.3:
            back, fore = fore, back
    pixels = back + (fore - back) * ink
    if kind == "paper":
        pixels = pixels + rng.normal(0, rng.uniform(0, 8), pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


# --- scenes ---------------------------------------------------------------------------------

COLORS: dict[str, tuple[str, Color]] = {
    "red": ("빨간", (214, 32, 38)),
    "orange": ("주황색", (245, 135, 25)),
    "yellow": ("노란", (247, 214, 36)),
    "green": ("초록색", (42, 157, 62)),
    "blue": ("파란", (32, 84, 206)),
    "purple": ("보라색", (128, 48, 168)),
    "pink": ("분홍색", (246, 140, 182)),
    "brown": ("갈색", (124, 76, 40)),
    "black": ("검은", (18, 18, 18)),
    "white": ("흰", (250, 250, 250)),
    "gray": ("회색", (136, 136, 136)),
}
SHAPES: dict[str, str] = {
    "circle": "원",
    "square": "정사각형",
    "triangle": "삼각형",
    "star": "별",
    "heart": "하트",
    "diamond": "마름모",
    "rectangle": "직사각형",
    "hexagon": "육각형",
    "cross": "십자가",
    "ring": "고리",
}
_COUNTS = {2: ("two", "두"), 3: ("three", "세"), 4: ("four", "네"), 5: ("five", "다섯")}
_GROUNDS = {"white": "흰", "black": "검은", "gray": "회색", "yellow": "노란", "blue": "파란", "green": "초록색"}
_RELATIONS: dict[str, tuple[str, Point, Point]] = {  # place of the first thing, of the second
    "to the left of": ("왼쪽에", (0.27, 0.5), (0.73, 0.5)),
    "to the right of": ("오른쪽에", (0.73, 0.5), (0.27, 0.5)),
    "above": ("위에", (0.5, 0.27), (0.5, 0.73)),
    "below": ("아래에", (0.5, 0.73), (0.5, 0.27)),
}


def draw_scene(rng: np.random.Generator) -> Drawn:
    """One shape, several equal shapes, or two shapes and where they are, on a plain ground."""
    ground = str(rng.choice(list(_GROUNDS), p=[0.5, 0.14, 0.12, 0.08, 0.08, 0.08]))
    colors = [name for name in COLORS if name != ground]
    canvas = Image.new("RGB", (SIDE * 2, SIDE * 2), _shade(rng, ground))
    pen = ImageDraw.Draw(canvas)
    kind = rng.choice(["one", "many", "two"], p=[0.35, 0.3, 0.35])
    color, shape = str(rng.choice(colors)), str(rng.choice(list(SHAPES)))
    thing, korean = f"{color} {shape}", f"{COLORS[color][0]} {SHAPES[shape]}"
    if kind == "one":
        english, hangul = _one(rng, pen, color, shape, thing, korean)
        english.append(f"{_a(thing)} on a {ground} background")
        hangul.append(f"{_GROUNDS[ground]} 배경 위의 {korean}")
    elif kind == "many":
        count = int(rng.integers(2, 6))
        places = _scatter(rng, count)
        for x, y in places:
            _shape(pen, shape, (x, y), rng.uniform(0.1, 0.138), _shade(rng, color), rng.normal(0, 6))
        word, counter = _COUNTS[count]
        english = [f"{word} {color} {_plural(shape)}", f"{count} {color} {_plural(shape)}", f"{word} {_plural(shape)}", f"{color} {_plural(shape)}"]
        hangul = [f"{korean} {counter} 개", f"{korean} {count}개", f"{SHAPES[shape]} {counter} 개"]
    else:
        english, hangul = _two(rng, pen, color, shape, colors)
    picture = canvas.resize((SIDE, SIDE), Image.Resampling.BOX)
    return Drawn(picture, tuple(english), tuple(hangul), english[0])


def _one(rng: np.random.Generator, pen: ImageDraw.ImageDraw, color: str, shape: str, thing: str, korean: str) -> tuple[list[str], list[str]]:
    size, hangul_size, radius = [("small", "작은", rng.uniform(0.1, 0.16)), ("big", "큰", rng.uniform(0.34, 0.44)), ("", "", rng.uniform(0.2, 0.32))][rng.integers(3)]
    room = 0.48 - radius
    place = tuple(0.5 + rng.uniform(-room, room, 2))
    _shape(pen, shape, place, radius, _shade(rng, color), rng.normal(0, 8))
    english, hangul = [_a(thing), _a(shape)], [korean, SHAPES[shape]]
    if size:
        english.insert(0, f"a {size} {thing}")
        hangul.insert(0, f"{hangul_size} {korean}")
    return english, hangul


def _two(rng: np.random.Generator, pen: ImageDraw.ImageDraw, color: str, shape: str, colors: Sequence[str]) -> tuple[list[str], list[str]]:
    other_color = str(rng.choice([name for name in colors if name != color]))
    other_shape = str(rng.choice([name for name in SHAPES if name != shape]))
    relation = str(rng.choice(list(_RELATIONS)))
    where, here, there = _RELATIONS[relation]
    for place, name, tint in ((here, shape, color), (there, other_shape, other_color)):
        spot = (place[0] + rng.normal(0, 0.02), place[1] + rng.normal(0, 0.02))
        _shape(pen, name, spot, rng.uniform(0.14, 0.2), _shade(rng, tint), rng.normal(0, 6))
    first, second = f"{color} {shape}", f"{other_color} {other_shape}"
    hangul_first, hangul_second = f"{COLORS[color][0]} {SHAPES[shape]}", f"{COLORS[other_color][0]} {SHAPES[other_shape]}"
    english = [f"{_a(first)} {relation} {_a(second)}", f"{_a(first)} and {_a(second)}", f"{_a(second)} and {_a(first)}", f"{_a(shape)} {relation} {_a(other_shape)}"]
    hangul = [f"{hangul_second} {where} 있는 {hangul_first}", f"{hangul_first}, {hangul_second}", f"{SHAPES[other_shape]} {where} 있는 {SHAPES[shape]}"]
    return english, hangul


def _a(thing: str) -> str:
    return f"an {thing}" if thing[0] in "aeiou" else f"a {thing}"


def _plural(shape: str) -> str:
    return f"{shape}es" if shape == "cross" else f"{shape}s"


def _shade(rng: np.random.Generator, color: str) -> Color:
    r, g, b = np.clip(np.array(COLORS[color][1]) + rng.normal(0, 7, 3), 0, 255).astype(int)
    return int(r), int(g), int(b)


def _scatter(rng: np.random.Generator, count: int) -> np.ndarray:
    """Places in the unit square, [count, 2]: different cells of a 3 x 3 grid, so that no two shapes touch."""
    cells = rng.choice(9, size=count, replace=False)
    places = np.stack([cells % 3, cells // 3], axis=1) / 3 + 1 / 6
    return places + rng.uniform(-0.025, 0.025, size=(count, 2))


def _shape(pen: ImageDraw.ImageDraw, shape: str, place: Point | tuple[float, ...], radius: float, color: Color, degrees: float) -> None:
    """Draw one shape; place and radius are shares of the side, the angle is in degrees."""
    side = SIDE * 2
    center, size = np.array(place) * side, radius * side
    if shape in ("circle", "ring"):
        box = (*(center - size), *(center + size))
        if shape == "circle":
            pen.ellipse(box, fill=color)
        else:
            pen.ellipse(box, outline=color, width=max(4, round(size * 0.35)))
        return
    turn = math.radians(degrees)
    spin = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    pen.polygon([tuple(dot) for dot in _outline(shape) @ spin * size + center], fill=color)


def _outline(shape: str) -> np.ndarray:
    """Corners of a shape in a circle of radius one, [k, 2]."""
    if shape == "heart":
        t = np.linspace(0, 2 * np.pi, 40)
        x, y = 16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        return np.stack([x, y], axis=1) / 17
    if shape == "cross":
        a = 0.3
        return np.array([(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)])
    if shape == "rectangle":
        return np.array([(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)])
    if shape == "diamond":
        return np.array([(0, -1), (0.62, 0), (0, 1), (-0.62, 0)])
    corners, first = {"square": (4, 45), "triangle": (3, -90), "hexagon": (6, 0), "star": (10, -90)}[shape]
    angles = np.radians(first + 360 / corners * np.arange(corners))
    reach = np.where(np.arange(corners) % 2 == 1, 0.42, 1.0) if shape == "star" else np.ones(corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]


# --- words ----------------------------------------------------------------------------------


def draw_word(rng: np.random.Generator, word: str, *, korean: bool, font: Path | None = None) -> Drawn:
    """A rendered word. Korean needs a font with Hangul; without `font` Pillow's own (Latin) one is used."""
    picture = _type(rng, word, font)
    english: tuple[str, ...] = (f'the word "{word}"', f"text that says {word}", f"the word {word} in print")
    hangul: tuple[str, ...] = (f'"{word}"라고 쓴 글자', f"{word} 글자", f"{word} 글씨")
    return Drawn(picture, english if not korean else english[:1], hangul, f"word {word.lower()}")


def _type(rng: np.random.Generator, text: str, font: Path | None) -> Image.Image:
    """Print text in one line, as large as fits, in plain colors."""
    face = _face(font, 64)
    left, top, right, bottom = face.getbbox(text)
    width, height = max(1, right - left), max(1, bottom - top)
    canvas = Image.new("L", (int(width) + 16, int(height) + 16))
    ImageDraw.Draw(canvas).text((8 - left, 8 - top), text, fill=255, font=face)
    share = rng.uniform(0.75, 0.98)
    scale = min(SIDE * share / canvas.width, SIDE * share * 0.7 / canvas.height)
    small = canvas.resize((max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale))), Image.Resampling.BICUBIC)
    ink = Image.new("L", (SIDE, SIDE))
    ink.paste(small, tuple(int(rng.integers(0, SIDE - size + 1)) for size in small.size))
    ink = ink.rotate(rng.normal(0, 4), Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        ink = ink.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    light, dark = rng.uniform(185, 255, 3), rng.uniform(0, 100, 3)
    back, fore = (light, dark) if rng.random() < 0.7 else (dark, light)
    share_of_ink = np.asarray(ink, np.float32)[:, :, None] / 255
    return Image.fromarray((back + (fore - back) * share_of_ink).astype(np.uint8))


def _face(font: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(str(font), size) if font else ImageFont.load_default(size=size)
