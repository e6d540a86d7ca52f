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

from anmok.train.pen import draw_strokes, strokes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["COLORS", "DIGITS", "SHAPES", "Drawn", "draw_digit", "draw_scene", "draw_shape", "draw_word"]

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
    english = (
        f"the digit {name}",
        f"the number {digit}",
        f"{digit}",
        name,
        f"a {how_english} {digit}",
        f"a {how_english} digit {name}",
    )
    hangul = (
        f"숫자 {digit}",
        f"숫자 {korean}",
        f"{how_korean} 숫자 {digit}",
        f"{how_korean} 숫자 {korean}",
        f"{how_korean} {digit}",
    )
    return Drawn(picture, english, hangul, f"{how_english} digit {digit}")


def _write(rng: np.random.Generator, digit: int, kind: str) -> Image.Image:
    lines = strokes(rng, digit)
    if kind == "tiny":  # as small optical readers store them: a 32-pixel bitmap counted in blocks of 4 x 4
        bitmap = np.asarray(draw_strokes(lines, 32, rng.uniform(0.08, 0.17), 0.0)) > 100
        small = Image.fromarray((bitmap.reshape(8, 4, 8, 4).sum(axis=(1, 3)) * (255 / 16)).astype(np.uint8))
    elif kind == "small":
        small = draw_strokes(lines, 28, rng.uniform(0.06, 0.14), rng.uniform(0.05, 0.2))
    else:
        small = draw_strokes(lines, SIDE, rng.uniform(0.04, 0.14), rng.uniform(0.03, 0.25))
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
        english, hangul = _one(rng, pen, color, shape)
        english.append(f"{_a(thing)} on a {ground} background")
        hangul.append(f"{_GROUNDS[ground]} 배경 위의 {korean}")
    elif kind == "many":
        count = int(rng.integers(2, 6))
        places = _scatter(rng, count)
        for x, y in places:
            radius = rng.uniform(0.1, 0.138)
            _shape(pen, shape, (x, y), radius, color=_shade(rng, color), degrees=rng.normal(0, 6))
        word, counter = _COUNTS[count]
        english = [
            f"{word} {color} {_plural(shape)}",
            f"{count} {color} {_plural(shape)}",
            f"{word} {_plural(shape)}",
            f"{color} {_plural(shape)}",
        ]
        hangul = [f"{korean} {counter} 개", f"{korean} {count}개", f"{SHAPES[shape]} {counter} 개"]
    else:
        english, hangul = _two(rng, pen, color, shape, colors)
    picture = canvas.resize((SIDE, SIDE), Image.Resampling.BOX)
    return Drawn(picture, tuple(english), tuple(hangul), english[0])


def draw_shape(rng: np.random.Generator, color: str, shape: str, side: int) -> Image.Image:
    """One shape of COLORS and SHAPES by itself, RGBA, `side` pixels square and transparent around it."""
    canvas = Image.new("RGBA", (SIDE * 2, SIDE * 2))
    _shape(ImageDraw.Draw(canvas), shape, (0.5, 0.5), 0.49, color=_shade(rng, color), degrees=rng.normal(0, 6))
    return canvas.resize((side, side), Image.Resampling.BOX)


def _one(rng: np.random.Generator, pen: ImageDraw.ImageDraw, color: str, shape: str) -> tuple[list[str], list[str]]:
    thing, korean = f"{color} {shape}", f"{COLORS[color][0]} {SHAPES[shape]}"
    size, hangul_size, radius = [
        ("small", "작은", rng.uniform(0.1, 0.16)),
        ("big", "큰", rng.uniform(0.34, 0.44)),
        ("", "", rng.uniform(0.2, 0.32)),
    ][rng.integers(3)]
    room = 0.48 - radius
    x, y = 0.5 + rng.uniform(-room, room, 2)
    _shape(pen, shape, (x, y), radius, color=_shade(rng, color), degrees=rng.normal(0, 8))
    english, hangul = [_a(thing), _a(shape)], [korean, SHAPES[shape]]
    if size:
        english.insert(0, f"a {size} {thing}")
        hangul.insert(0, f"{hangul_size} {korean}")
    return english, hangul


def _two(
    rng: np.random.Generator, pen: ImageDraw.ImageDraw, color: str, shape: str, colors: Sequence[str]
) -> tuple[list[str], list[str]]:
    other_color = str(rng.choice([name for name in colors if name != color]))
    other_shape = str(rng.choice([name for name in SHAPES if name != shape]))
    relation = str(rng.choice(list(_RELATIONS)))
    where, here, there = _RELATIONS[relation]
    for place, name, tint in ((here, shape, color), (there, other_shape, other_color)):
        spot = (place[0] + rng.normal(0, 0.02), place[1] + rng.normal(0, 0.02))
        radius = rng.uniform(0.14, 0.2)
        _shape(pen, name, spot, radius, color=_shade(rng, tint), degrees=rng.normal(0, 6))
    first, second = f"{color} {shape}", f"{other_color} {other_shape}"
    hangul_first = f"{COLORS[color][0]} {SHAPES[shape]}"
    hangul_second = f"{COLORS[other_color][0]} {SHAPES[other_shape]}"
    english = [
        f"{_a(first)} {relation} {_a(second)}",
        f"{_a(first)} and {_a(second)}",
        f"{_a(second)} and {_a(first)}",
        f"{_a(shape)} {relation} {_a(other_shape)}",
    ]
    hangul = [
        f"{hangul_second} {where} 있는 {hangul_first}",
        f"{hangul_first}, {hangul_second}",
        f"{SHAPES[other_shape]} {where} 있는 {SHAPES[shape]}",
    ]
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


def _shape(pen: ImageDraw.ImageDraw, shape: str, place: Point, radius: float, *, color: Color, degrees: float) -> None:
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
        return np.array(
            [(-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a), (a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)]
        )
    if shape == "rectangle":
        return np.array([(-1, -0.5), (1, -0.5), (1, 0.5), (-1, 0.5)])
    if shape == "diamond":
        return np.array([(0, -1), (0.62, 0), (0, 1), (-0.62, 0)])
    corners, first = {"square": (4, 45), "triangle": (3, -90), "hexagon": (6, 0), "star": (10, -90)}[shape]
    angles = np.radians(first + 360 / corners * np.arange(corners))
    reach = np.where(np.arange(corners) % 2 == 1, 0.42, 1.0) if shape == "star" else np.ones(corners)
    corner: np.ndarray = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    return corner


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
    x, y, right, bottom = face.getbbox(text)
    width, height = max(1, right - x), max(1, bottom - y)
    canvas = Image.new("L", (int(width) + 16, int(height) + 16))
    ImageDraw.Draw(canvas).text((8 - x, 8 - y), text, fill=255, font=face)
    share = rng.uniform(0.75, 0.98)
    scale = min(SIDE * share / canvas.width, SIDE * share * 0.7 / canvas.height)
    small = canvas.resize(
        (max(1, round(canvas.width * scale)), max(1, round(canvas.height * scale))), Image.Resampling.BICUBIC
    )
    ink = Image.new("L", (SIDE, SIDE))
    left, top = (int(rng.integers(0, SIDE - size + 1)) for size in small.size)
    ink.paste(small, (left, top))
    ink = ink.rotate(rng.normal(0, 4), Image.Resampling.BICUBIC)
    if rng.random() < 0.3:
        ink = ink.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.0)))
    light, dark = rng.uniform(185, 255, 3), rng.uniform(0, 100, 3)
    back, fore = (light, dark) if rng.random() < 0.7 else (dark, light)
    covered = np.asarray(ink, np.float32)[:, :, None] / 255
    return Image.fromarray((back + (fore - back) * covered).astype(np.uint8))


def _face(font: Path | None, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(str(font), size) if font else ImageFont.load_default(size=size)
