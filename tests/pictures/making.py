"""What the made-up picture files share: one picture of four colored quarters, and ways to write it."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

RED, GREEN, BLUE, YELLOW = (220, 30, 40), (20, 160, 60), (30, 60, 200), (240, 220, 50)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def quarters() -> Image.Image:
    """Red and green above blue and yellow."""
    pixels = np.empty((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24], pixels[16:, 24:] = RED, GREEN, BLUE, YELLOW
    return Image.fromarray(pixels)


def noise(side: int = 64) -> Image.Image:
    """Large enough, and dense enough, that every cut hits pixel data."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8))


@dataclass(frozen=True)
class Case:
    """A file, and what must come of it: `picture` within `tolerance` gray levels (mean), or `reason` (regex)."""

    name: str
    data: bytes
    picture: Image.Image | None = None
    tolerance: float = 0.0
    reason: str = ""


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes, *, crc: int | None = None) -> bytes:
    """A PNG chunk, by default with the right check sum."""
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


def png(width: int, height: int, depth: int, color: int, rows: bytes, *extra: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = b"".join(extra) + (chunk(b"IDAT", zlib.compress(rows, 9)) if rows else b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def flat(*color: int) -> Image.Image:
    return Image.new("RGB", (48, 32), color)
