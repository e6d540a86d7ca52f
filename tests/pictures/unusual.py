"""Files that are in order but not plain RGB: turned, gray, deep, transparent, animated, thin.

Each must come out right; the few whose meaning nobody knows are refused.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from .making import BLACK, BLUE, GREEN, RED, WHITE, Case, chunk, encode, flat, png, quarters


def unusual() -> list[Case]:
    return [*turned(), *modes(), *animations(), *shapes()]


def oriented(orientation: int, kind: str = "JPEG") -> bytes:
    """A file whose stored pixels are turned so that EXIF's orientation brings `quarters` back."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # inverse of each turn, as Pillow's Transpose
    stored = quarters() if orientation == 1 else quarters().transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(stored, kind, exif=exif.tobytes(), quality=95) if kind != "TIFF" else encode(stored, kind, exif=exif)


def turned() -> list[Case]:
    return [
        *(Case(f"jpeg-orientation-{o}", oriented(o), quarters(), 6) for o in range(1, 9)),
        Case("png-orientation-6", oriented(6, "PNG"), quarters()),
        Case("webp-orientation-8", oriented(8, "WEBP"), quarters(), 8),
        Case("tiff-orientation-5", oriented(5, "TIFF"), quarters()),
        Case("avif-orientation-6", oriented(6, "AVIF"), quarters(), 8),
    ]


def modes() -> list[Case]:
    gray = quarters().convert("L")
    on_white = quarters().copy()
    on_white.paste(WHITE, (0, 0, 24, 32))  # where the pictures below are transparent
    alpha = Image.new("L", (48, 32), 255)
    alpha.paste(0, (0, 0, 24, 32))
    rgba = quarters().copy()
    rgba.putalpha(alpha)
    gray_alpha = gray.copy()
    gray_alpha.putalpha(alpha)
    gray_on_white = Image.merge("RGB", (gray, gray, gray))
    gray_on_white.paste(WHITE, (0, 0, 24, 32))
    palette = quarters().quantize(4)
    red = palette.getpixel((0, 0))
    no_red = quarters().copy()
    no_red.paste(WHITE, (0, 0, 24, 16))
    sixteen = np.asarray(gray).astype(np.uint16) * 257
    bits = Image.new("1", (48, 32), 1)
    bits.paste(0, (0, 0, 24, 32))
    half_black = Image.new("RGB", (48, 32), WHITE)
    half_black.paste(BLACK, (0, 0, 24, 32))
    gray_rgb = Image.merge("RGB", (gray, gray, gray))
    wide_rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in sixteen)
    key = int(sixteen[0, 0])
    keyed = np.asarray(gray_rgb).copy()
    keyed[sixteen == key] = 255
    cmyk = quarters().convert("CMYK")
    ink = Image.merge("CMYK", (*cmyk.split()[:3], gray.point(lambda v: v // 3)))
    floats = np.asarray(gray).astype(np.float32)
    return [
        Case("rgba.png", encode(rgba, "PNG"), on_white),
        Case("rgba.webp", encode(rgba, "WEBP", lossless=True), on_white),
        Case("la.png", encode(gray_alpha, "PNG"), gray_on_white),
        Case("palette-with-transparency.png", encode(palette, "PNG", transparency=red), no_red),
        Case(
            "palette-with-alpha-table.png",
            encode(palette, "PNG", transparency=bytes(0 if i == red else 255 for i in range(4))),
            no_red,
        ),
        Case("palette.gif", encode(palette, "GIF", transparency=red), no_red),
        Case("color-key.png", encode(quarters(), "PNG", transparency=RED), no_red),
        Case("gray.png", encode(gray, "PNG"), gray_rgb),
        Case("gray.jpg", encode(gray, "JPEG", quality=95), gray_rgb, 4),
        Case("one-bit.png", encode(bits, "PNG"), half_black),
        Case("one-bit.tiff", encode(bits, "TIFF", compression="group4"), half_black),
        Case("sixteen-bit.png", encode(Image.fromarray(sixteen), "PNG"), gray_rgb),
        Case("sixteen-bit.tiff", encode(Image.fromarray(sixteen), "TIFF"), gray_rgb),
        Case(
            "sixteen-bit-big-endian.tiff",
            encode(Image.frombytes("I;16B", (48, 32), sixteen.astype(">u2").tobytes()), "TIFF"),
            gray_rgb,
        ),
        Case("sixteen-bit.pgm", b"P5 48 32 65535\n" + sixteen.astype(">u2").tobytes(), gray_rgb),
        Case(
            "sixteen-bit-color-key.png",
            png(48, 32, 16, 0, wide_rows, chunk(b"tRNS", struct.pack(">H", key))),
            Image.fromarray(keyed),
        ),
        Case("sixteen-bit-rgb.png", png(48, 32, 16, 2, _rgb16_rows()), quarters()),
        Case("float-0-to-1.tiff", encode(Image.fromarray(floats / 255), "TIFF"), gray_rgb),
        Case("float-0-to-255.tiff", encode(Image.fromarray(floats), "TIFF"), gray_rgb),
        Case(
            "float-heights.tiff",
            encode(Image.fromarray(floats * 30 - 200), "TIFF"),
            reason="values go from .* expected 0 to 1 or 0 to 255",
        ),
        Case(
            "float-nan.tiff",
            encode(Image.fromarray(np.full((8, 8), np.nan, np.float32)), "TIFF"),
            reason="values go from nan",
        ),
        Case("int32.tiff", encode(Image.fromarray(sixteen.astype(np.int32)), "TIFF"), gray_rgb),
        Case(
            "int32-negative.tiff",
            encode(Image.fromarray(np.full((8, 8), -5, np.int32)), "TIFF"),
            reason="values go from -5",
        ),
        Case("cmyk-adobe-inverted.jpg", encode(cmyk, "JPEG", quality=95), quarters(), 8),
        Case("cmyk-with-black.jpg", encode(ink, "JPEG", quality=95), ink.convert("RGB"), 8),
        Case("ycck.jpg", _ycck(ink), ink.convert("RGB"), 8),
        Case("cmyk.tiff", encode(cmyk, "TIFF"), quarters(), 1),
        Case("ycbcr.tiff", encode(quarters().convert("YCbCr"), "TIFF"), quarters(), 2),
        Case("lab.tiff", encode(Image.new("LAB", (48, 32), (255, 128, 128)), "TIFF"), flat(*WHITE), 2),
        Case(
            "icon.ico",
            encode(quarters().resize((32, 32), 0), "ICO", sizes=[(16, 16), (32, 32)]),
            quarters().resize((32, 32), 0),
        ),
        Case("jpeg2000.jp2", encode(quarters(), "JPEG2000"), quarters()),
        Case("photo.avif", encode(quarters(), "AVIF", quality=95), quarters(), 4),
        Case("really-a-png.jpg", encode(quarters(), "PNG"), quarters()),
        Case("icc-profile.jpg", encode(quarters(), "JPEG", quality=95, icc_profile=bytes(500)), quarters(), 6),
    ]


def _rgb16_rows() -> bytes:
    wide = np.asarray(quarters()).astype(np.uint16) * 257
    return b"".join(b"\x00" + row.astype(">u2").tobytes() for row in wide)


def _ycck(cmyk: Image.Image) -> bytes:
    """The kind of CMYK JPEG that Photoshop writes: inverted, and its CMY as luma and chroma.

    Pillow writes CMYK only (inverted, marked by Adobe's segment), so the luma and chroma go in
    as if they were CMY, and the mark is changed.
    """
    c, m, y, k = cmyk.split()
    luma, blue, red = (band.point(lambda v: 255 - v) for band in Image.merge("RGB", (c, m, y)).convert("YCbCr").split())
    jpeg = bytearray(encode(Image.merge("CMYK", (luma, blue, red, k)), "JPEG", quality=95))
    jpeg[jpeg.index(b"Adobe") + 11] = 2  # the color transform: YCCK
    return bytes(jpeg)


def animations() -> list[Case]:
    others = [flat(*BLUE), flat(*GREEN)]
    first = {"save_all": True, "append_images": others, "duration": 50}
    return [
        Case("animated.gif", encode(quarters(), "GIF", **first), quarters(), 1),
        Case("animated.webp", encode(quarters(), "WEBP", lossless=True, **first), quarters()),
        Case("animated.png", encode(quarters(), "PNG", **first), quarters()),
        Case("pages.tiff", encode(quarters(), "TIFF", save_all=True, append_images=others), quarters()),
        Case(
            "two-views.mpo", encode(quarters(), "MPO", save_all=True, append_images=others, quality=95), quarters(), 6
        ),
    ]


def shapes() -> list[Case]:
    return [
        Case("one-pixel.png", encode(Image.new("RGB", (1, 1), RED), "PNG"), Image.new("RGB", (1, 1), RED)),
        Case("thin.png", encode(Image.new("L", (20_000, 1), 9), "PNG"), Image.new("RGB", (20_000, 1), (9, 9, 9))),
        Case(
            "tall.jpg", encode(Image.new("L", (1, 20_000), 90), "JPEG"), Image.new("RGB", (1, 20_000), (90, 90, 90)), 1
        ),
        Case("png-width-0", png(0, 5, 8, 2, bytes(5)), reason="no pixels|damaged|not a picture"),
        Case(
            "gif-0-x-0",
            b"GIF89a\x00\x00\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x01\x00\x00;",
            reason="no pixels|damaged|not a picture",
        ),
    ]
