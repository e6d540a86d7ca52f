"""Parts as a camera on a line would see them, drawn: good ones, and faulty ones with the fault's mask.

    python benchmarks/drawn_parts.py FOLDER        a few of each kind, to look at

Three kinds: a hexagonal nut that lies as it fell, woven cloth, and a printed label. Light, place and grain differ from
picture to picture. Faults: scratch, missing piece, stain, dent; small on purpose (0.1 to 0.5 percent of the picture).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FAULTS", "KINDS", "draw_part"]

SIDE = 320
FINE = 2  # drawn at twice the size, then made smaller
KINDS = ("nut", "cloth", "label")
FAULTS = ("scratch", "missing piece", "stain", "dent")

Rng = np.random.Generator


def draw_part(kind: str, seed: int, fault: str | None = None) -> tuple[Image.Image, NDArray[np.bool_]]:
    """One part: RGB picture of SIDE x SIDE, and where its fault is [SIDE, SIDE] (nowhere on a good part)."""
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    image, ground = {"nut": nut, "cloth": cloth, "label": label}[kind](rng)
    mask = np.zeros((SIDE, SIDE), bool)
    if fault is not None:
        spoilt = spoil(image, ground, fault, np.random.default_rng((seed, 7, FAULTS.index(fault))))
        changed = np.abs(np.asarray(spoilt, np.int16) - np.asarray(image, np.int16)).max(axis=2)
        small = Image.fromarray(changed.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BOX)
        mask, image = np.asarray(small) > 6, spoilt
    return photographed(image, rng), mask


def photographed(image: Image.Image, rng: Rng) -> Image.Image:
    """Uneven light, grain, a touch of blur."""
    image = image.resize((SIDE, SIDE), Image.Resampling.BOX).filter(
        ImageFilter.GaussianBlur(float(rng.uniform(0.3, 0.6)))
    )
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    light = rng.uniform(0.94, 1.06) + rng.uniform(-0.05, 0.05) * x + rng.uniform(-0.05, 0.05) * y
    pixels = np.asarray(image) * light[..., None] + rng.normal(0, 3, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


# --- the parts: each returns the picture and a mask of where a fault may be --------------------


def nut(rng: Rng) -> tuple[Image.Image, Image.Image]:
    side = SIDE * FINE
    image = Image.new("RGB", (side, side), (62, 66, 72))
    ground = Image.new("L", image.size, 0)
    middle = side / 2 + rng.uniform(-8, 8, 2) * FINE
    radius, turn = 128 * FINE, rng.uniform(0, np.pi / 3)

    def hexagon(scale: float) -> list[tuple[float, float]]:
        angles = turn + np.arange(6) * np.pi / 3
        return [tuple(middle + scale * radius * np.array([np.cos(a), np.sin(a)])) for a in angles]

    def ring(scale: float) -> tuple[float, ...]:
        return (*(middle - scale * radius), *(middle + scale * radius))

    pen = ImageDraw.Draw(image)
    pen.polygon(hexagon(1), fill=(128, 130, 134))
    pen.polygon(hexagon(0.96), fill=(166, 168, 172))
    pen.ellipse(ring(0.82), fill=(178, 180, 184))
    brushed = rng.normal(0, 9, (side // 4, side // 4))
    brushed = Image.fromarray(np.clip(128 + brushed, 0, 255).astype(np.uint8)).resize(
        image.size, Image.Resampling.BICUBIC
    )
    image = Image.composite(
        ImageChops.overlay(image, Image.merge("RGB", [brushed] * 3)), image, mask_of(image, hexagon(1))
    )
    pen = ImageDraw.Draw(image)
    for k, scale in enumerate(np.linspace(0.5, 0.42, 5)):  # the thread
        pen.ellipse(ring(scale), fill=((110, 112, 116), (150, 152, 156))[k % 2])
    pen.ellipse(ring(0.41), fill=(62, 66, 72))
    pen = ImageDraw.Draw(ground)
    pen.polygon(hexagon(0.9), fill=255)
    pen.ellipse(ring(0.55), fill=0)
    return image, ground


def mask_of(image: Image.Image, corners: list[tuple[float, float]]) -> Image.Image:
    mask = Image.new("L", image.size, 0)
    ImageDraw.Draw(mask).polygon(corners, fill=255)
    return mask


def cloth(rng: Rng) -> tuple[Image.Image, Image.Image]:
    side, pitch = SIDE * FINE, 16 * FINE
    y, x = np.mgrid[:side, :side].astype(np.float32)
    turn = rng.uniform(-0.05, 0.05)
    u = x * np.cos(turn) - y * np.sin(turn) + rng.uniform(0, 2 * pitch)
    v = x * np.sin(turn) + y * np.cos(turn) + rng.uniform(0, 2 * pitch)
    over = ((u // pitch + v // pitch) % 2).astype(bool)
    across, down = np.sin(np.pi * (u % pitch) / pitch), np.sin(np.pi * (v % pitch) / pitch)
    shade = np.where(over, across, down)[..., None] ** 0.7
    yarn = np.where(over[..., None], (168, 142, 104), (142, 116, 84))
    stripe = ((u // (6 * pitch)) % 2 == 0)[..., None]
    yarn = np.where(stripe & over[..., None], (120, 128, 142), yarn)
    pixels = yarn * (0.55 + 0.45 * shade)
    return Image.fromarray(pixels.astype(np.uint8)), Image.new("L", (side, side), 255)


def label(rng: Rng) -> tuple[Image.Image, Image.Image]:
    side = SIDE * FINE
    image = Image.new("RGB", (side, side), (176, 152, 118))
    paper = Image.new("RGB", (side, side), (238, 236, 228))
    pen = ImageDraw.Draw(paper)
    left, top, right, bottom = (int(one * FINE) for one in (30, 50, 290, 270))
    pen.rectangle((left, top, right, top + 52 * FINE), fill=(30, 92, 148))
    font, small = ImageFont.load_default(30 * FINE), ImageFont.load_default(15 * FINE)
    pen.text((left + 14 * FINE, top + 8 * FINE), "ANMOK 12-B", font=font, fill="white")
    for row, text in enumerate(("Net weight 500 g", "Keep dry, 5-25 C", "Lot 2291 / Line 4")):
        pen.text((left + 14 * FINE, top + (66 + 22 * row) * FINE), text, font=small, fill=(40, 40, 44))
    bars = np.random.default_rng(1)  # the same on every label
    place = left + 14 * FINE
    while place < right - 20 * FINE:
        wide = int(bars.integers(1, 5)) * FINE
        pen.rectangle((place, top + 148 * FINE, place + wide - 1, bottom - 18 * FINE), fill=(26, 26, 28))
        place += wide + int(bars.integers(2, 5)) * FINE
    shape = Image.new("L", (side, side), 0)
    ImageDraw.Draw(shape).rounded_rectangle((left, top, right, bottom), 10 * FINE, fill=255)
    angle, move = float(rng.uniform(-2, 2)), tuple(int(one) for one in rng.integers(-6 * FINE, 6 * FINE + 1, 2))
    turned = {"resample": Image.Resampling.BICUBIC, "translate": move}
    shape, paper = shape.rotate(angle, **turned), paper.rotate(angle, **turned, fillcolor=(238, 236, 228))
    image.paste(paper, mask=shape)
    return image, shape.filter(ImageFilter.MinFilter(9))


# --- the faults -------------------------------------------------------------------------------


def spoil(image: Image.Image, ground: Image.Image, fault: str, rng: Rng) -> Image.Image:
    allowed = np.argwhere(np.asarray(ground)[8:-8, 8:-8] > 128) + 8
    y, x = (float(one) for one in allowed[rng.integers(len(allowed))])
    return {"scratch": scratch, "missing piece": missing_piece, "stain": stain, "dent": dent}[fault](image, x, y, rng)


def scratch(image: Image.Image, x: float, y: float, rng: Rng) -> Image.Image:
    spoilt = image.copy()
    angle, length = rng.uniform(0, np.pi), rng.uniform(28, 60) * FINE
    bend = rng.uniform(-0.4, 0.4)
    points = []
    for t in np.linspace(-0.5, 0.5, 9):
        a = angle + bend * t
        points.append((x + t * length * np.cos(a), y + t * length * np.sin(a)))
    light = rng.random() < 0.5
    color = tuple(int(one) for one in (rng.integers(215, 245, 3) if light else rng.integers(30, 70, 3)))
    ImageDraw.Draw(spoilt).line(points, fill=color, width=int(rng.integers(2, 5)), joint="curve")
    return spoilt


def missing_piece(image: Image.Image, x: float, y: float, rng: Rng) -> Image.Image:
    spoilt = image.copy()
    radius = rng.uniform(8, 15) * FINE
    angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
    corners = [
        (x + r * np.cos(a), y + r * np.sin(a)) for a, r in zip(angles, radius * rng.uniform(0.6, 1.1, 8), strict=True)
    ]
    ImageDraw.Draw(spoilt).polygon(corners, fill=image.getpixel((3, 3)) if rng.random() < 0.7 else (40, 40, 42))
    return spoilt


def blob(image: Image.Image, x: float, y: float, radius: float, rng: Rng) -> NDArray[np.float64]:
    """A soft, uneven spot: [h, w] in 0..1."""
    rows, columns = np.mgrid[: image.height, : image.width]
    angle = np.arctan2(rows - y, columns - x)
    edge = radius * (1 + sum(rng.uniform(-0.12, 0.12) * np.cos(k * angle + rng.uniform(0, 6)) for k in (2, 3, 5)))
    return 1 / (1 + np.exp((np.hypot(rows - y, columns - x) - edge) / (0.12 * radius)))


def stain(image: Image.Image, x: float, y: float, rng: Rng) -> Image.Image:
    share = rng.uniform(0.3, 0.55) * blob(image, x, y, rng.uniform(8, 15) * FINE, rng)[..., None]
    color = np.array(((70, 46, 20), (30, 34, 60), (120, 30, 24))[rng.integers(3)])
    return Image.fromarray(((1 - share) * np.asarray(image) + share * color).astype(np.uint8))


def dent(image: Image.Image, x: float, y: float, rng: Rng) -> Image.Image:
    """Light on one side, shadow on the other."""
    radius, angle = rng.uniform(9, 16) * FINE, rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[: image.height, : image.width]
    along = ((columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)) / radius
    shading = along * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / (0.5 * radius) ** 2)
    gain = 1 + rng.uniform(1.0, 1.7) * shading[..., None]
    return Image.fromarray(np.clip(np.asarray(image) * gain, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for number, fault in enumerate((None, *FAULTS)):
            picture, where = draw_part(kind, number, fault)
            edge = Image.fromarray(np.uint8(255 * where)).convert("RGB")
            both = Image.new("RGB", (2 * SIDE, SIDE))
            both.paste(picture, (0, 0))
            both.paste(edge, (SIDE, 0))
            both.save(folder / f"{kind}-{fault or 'good'}.png")
