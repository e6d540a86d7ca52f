"""What kind of picture file some bytes are, by how they begin; whether the rest of it is sound is another matter."""

from __future__ import annotations

__all__ = ["kind_of"]

SIGNATURES = (  # offset, bytes
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"ftypavi", "AVIF"),
    (0, b"BM", "BMP"),
)


def kind_of(content: bytes) -> str | None:
    """The kind of picture that begins so, such as "JPEG"; None where no known one does.

    >>> kind_of(b"GIF89a")
    'GIF'
    """
    return next((kind for offset, mark, kind in SIGNATURES if content.startswith(mark, offset)), None)
