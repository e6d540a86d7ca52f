"""Files that strangers send: cut, damaged, disguised, or far too large.

Each must be refused with the reason; those where only the metadata is damaged are read.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from PIL import Image

from .making import BLACK, RED, Case, chunk, encode, noise, png, quarters


def hostile() -> list[Case]:
    return [*truncated(), *not_pictures(), *damaged(), *bombs()]


def truncated() -> list[Case]:
    found = []
    for kind, options in (
        ("JPEG", {"quality": 90}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("BMP", {}),
    ):
        whole = encode(noise(), kind, **options)
        for percent in (10, 50, 90):
            found.append(
                Case(
                    f"{kind}-cut-at-{percent}",
                    whole[: len(whole) * percent // 100],
                    reason="truncated|damaged|not a picture",
                )
            )
        found.append(Case(f"{kind}-only-magic", whole[:8], reason="truncated|damaged|not a picture"))
    gif = encode(noise().convert("P"), "GIF")
    found += [
        Case(f"GIF-cut-at-{percent}", gif[: len(gif) * percent // 100], reason="truncated|damaged")
        for percent in (10, 50, 90)
    ]
    found.append(Case("AVIF-cut-in-half", _half(encode(noise(), "AVIF")), reason="truncated|damaged|not a picture"))
    found.append(Case("JPEG2000-cut-in-half", _half(encode(noise(), "JPEG2000")), reason="truncated|damaged"))
    found.append(
        Case(
            "TIFF-deflate-cut-in-half",
            _half(encode(noise(), "TIFF", compression="tiff_adobe_deflate")),
            reason="truncated|damaged|not a picture",
        )
    )
    return found


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def not_pictures() -> list[Case]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("photo.jpg", encode(quarters(), "JPEG"))
    return [
        Case("zero-bytes.jpg", b"", reason=r"is empty \(0 bytes\)"),
        Case("one-byte.jpg", b"\xff", reason="not a picture"),
        Case("text.jpg", "그냥 글입니다\n".encode() * 50, reason="not a picture"),
        Case("page.jpg", b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>404</body></html>", reason="an HTML page"),
        Case("drawing.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', reason="an SVG drawing"),
        Case("xml.png", b'<?xml version="1.0"?><svg/>', reason="SVG"),
        Case("paper.jpg", b"%PDF-1.7\n1 0 obj\n", reason="a PDF document"),
        Case("figure.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", reason="PostScript"),
        Case("archive.png", archive.getvalue(), reason="a zip archive"),
        Case("nulls.png", bytes(4096), reason="not a picture"),
        Case("psd.jpg", b"8BPS\x00\x01" + bytes(60), reason="a Photoshop document"),
    ]


def damaged() -> list[Case]:
    whole = encode(noise(), "PNG")
    at = whole.index(b"IDAT") + 40
    flipped = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    bad_crc = whole[:8] + chunk(b"IHDR", whole[16:29], crc=1) + whole[33:]
    bmp = bytearray(encode(quarters(), "BMP"))
    bmp[14:18] = struct.pack("<I", 7)  # a header size that no BMP has
    bmp_bits = bytearray(encode(quarters(), "BMP"))
    bmp_bits[28:30] = struct.pack("<H", 77)  # bits per pixel
    tiff = bytearray(encode(quarters(), "TIFF"))
    tiff[4:8] = struct.pack("<I", 0xFFFFFFF0)  # where its directory is said to be
    long_text = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(2_000_000), 9))
    jpeg = encode(quarters(), "JPEG", quality=95)
    return [
        Case("png-wrong-data", flipped, reason="damaged|truncated"),
        Case("png-wrong-header-check-sum", bad_crc, reason="damaged|not a picture"),
        Case(
            "png-no-data",
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""),
            reason="damaged|truncated",
        ),
        Case(
            "png-too-little-data", png(8, 8, 8, 2, (b"\x00" + bytes(RED) * 8) * 3), _red_over_black(3)
        ),  # as every reader does
        Case("png-color-type-9", png(8, 8, 8, 9, bytes(80)), reason="damaged|not a picture"),
        Case(
            "png-text-bomb", png(8, 8, 8, 0, bytes(72), long_text), reason="damaged: .*[Dd]ecompressed data too large"
        ),
        Case("bmp-bad-header", bytes(bmp), reason="damaged|not a picture"),
        Case("bmp-77-bits", bytes(bmp_bits), reason="damaged|not a picture"),
        Case("tiff-directory-nowhere", bytes(tiff), reason="damaged|truncated|not a picture"),
        Case("gif-no-frames", b"GIF89a\x08\x00\x08\x00\x00\x00\x00;", reason="damaged|truncated|not a picture"),
        Case("webp-random-body", b"RIFF\x40\x00\x00\x00WEBPVP8 " + bytes(range(52)), reason="damaged|not a picture"),
        Case("avif-random-body", b"\x00\x00\x00\x20ftypavif" + bytes(range(200)), reason="damaged|not a picture"),
        Case(
            "ico-directory-nowhere",
            b"\x00\x00\x01\x00\x01\x00" + struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, 99, 5000),
            reason="damaged|truncated|not a picture",
        ),
        Case(
            "jpeg-broken-exif",
            encode(quarters(), "JPEG", quality=95, exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"),
            quarters(),
            6,
        ),
        Case(
            "jpeg-exif-of-zeros",
            encode(quarters(), "JPEG", quality=95, exif=b"Exif\x00\x00" + bytes(200)),
            quarters(),
            6,
        ),
        Case("jpeg-orientation-99", oriented_as(99), quarters(), 6),
        Case(
            "jpeg-huge-exif",
            encode(quarters(), "JPEG", quality=95, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00" + bytes(65_000)),
            quarters(),
            6,
        ),
        Case("jpeg-junk-behind", jpeg + bytes(5000), quarters(), 6),
        Case("png-junk-behind", encode(quarters(), "PNG") + b"<?php ?>" * 50, quarters()),
    ]


def oriented_as(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(quarters(), "JPEG", exif=exif.tobytes(), quality=95)


def _red_over_black(rows: int) -> Image.Image:
    image = Image.new("RGB", (8, 8), BLACK)
    image.paste(RED, (0, 0, 8, rows))
    return image


def bombs() -> list[Case]:
    side = 12_000  # 144 megapixels in about 20 kB
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(side // 8 + 1)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    huge = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    ppm = b"P6 90000 90000 255\n"
    gif = (
        b"GIF89a\xff\xff\xff\xff\x00\x00\x00"
        + b","
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
        + b"\x08\x01\x00\x00;"
    )
    return [
        Case(
            "png-144-megapixels",
            bomb,
            reason="12000 x 12000 is 144,000,000 pixels, over the limit of 100,000,000.*ANMOK_MAX_PIXELS",
        ),
        Case(
            "png-huge-no-data",
            b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) + chunk(b"IDAT", b""),
            reason="far too many pixels",
        ),
        Case("ppm-huge-no-data", ppm, reason="far too many pixels"),
        Case("gif-huge-no-data", gif, reason="far too many pixels"),
    ]
