"""Anything that holds a picture → an upright RGB picture, or a PictureError that says why not.

Pictures come from strangers, so this door is narrow: only the formats in `FORMATS` are tried,
the number of pixels is checked before anything is decoded, and every way in which Pillow is
known to fail on broken bytes becomes a PictureError. ICC profiles are left unapplied, as the
reference implementations leave them: models saw such pixels in training.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import threading
import warnings
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias
from unicodedata import category

import numpy as np
from PIL import Image, UnidentifiedImageError

from anmok.errors import PictureError
from anmok.pictures.color import lies_on_its_side, to_rgb, upright
from anmok.pictures.signature import kind_of
from anmok.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

__all__ = ["FORMATS", "Needed", "PictureSource", "picture_name", "read", "system_reason"]

PictureSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8]"
"""What `read` takes; an array is [h, w, 3] RGB, [h, w, 4] RGBA or [h, w] gray."""

Needed: TypeAlias = "Callable[[tuple[int, int]], tuple[int, int]]"
"""(height, width) of an upright picture → the (height, width) that are enough."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "ICO", "PPM", "JPEG2000", "AVIF")
"""The formats that are tried, by Pillow's names. Not among them: those that run another program
or a language (EPS, WMF), and rare ones whose readers few people test. HEIC comes on top, where
the extra `heic` is installed."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

BROKEN = (
    OSError,
    SyntaxError,  # Pillow's word for a header that does not follow the format
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,  # OverflowError, ZeroDivisionError
    AttributeError,
    EOFError,
    RuntimeError,  # libwebp, libavif; NotImplementedError
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow is known to throw on broken bytes. Caught around Pillow's calls only."""

NOISY = ("ICO", "TIFF")
"""Formats whose metadata Pillow reads, and warns about, only as it loads the pixels."""

OTHER_KINDS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "PostScript (EPS), which is never opened because reading it runs a program"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS), which is never opened because reading it runs a program"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"8BPS", "a Photoshop document"),
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "an XML document (SVG?)"),
)

_warnings_lock = threading.Lock()


def read(
    source: PictureSource,
    *,
    max_pixels: int | None = None,
    allow_url: bool = False,
    needed: Needed | None = None,
) -> Image.Image:
    """Read one picture: mode RGB, upright, decoded, no file left open.

    The EXIF orientation is applied; of an animation or a multi-page file the first frame is
    taken; transparency is laid on white; 16-bit values are scaled to 8 bits; CMYK and others
    become RGB as Pillow converts them.

    Args:
        source: a path; the bytes of a picture file; a PIL picture; a NumPy array, uint8,
            [h, w, 3] RGB, [h, w, 4] RGBA or [h, w] gray; with `allow_url`, an http(s) address.
        max_pixels: refuse a picture with more pixels (default: the setting `ANMOK_MAX_PIXELS`).
        allow_url: fetch http(s) addresses. Off by default: nothing is fetched unasked.
        needed: the height and width that are enough for a picture of a given height and width. A JPEG is then decoded
            at 1/2, 1/4 or 1/8 of its size where that is as much: several times faster, and nearly the same.

    Raises:
        PictureError: names the picture and says why it cannot be used.

    >>> read(np.zeros((2, 3, 3), np.uint8)).size
    (3, 2)
    """
    limit = settings().max_pixels if max_pixels is None else max_pixels
    name = picture_name(source)
    if isinstance(source, Image.Image):
        return _decode(source, name, limit)
    if isinstance(source, np.ndarray):
        return _decode(_from_array(source, name), name, limit)
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_bytes(bytes(source), name, limit, needed)
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        if not allow_url:
            raise PictureError(name, "is an address, and nothing is fetched unasked: pass allow_url=True to allow it")
        from anmok.pictures.download import download

        return _read_bytes(download(source), name, limit, needed)
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(os.fsdecode(source)), name, limit, needed)
    raise PictureError(name, "expected a path, bytes, a PIL picture or a uint8 array [h, w, 3]")


def picture_name(source: object) -> str:
    """What messages call `source`. Always one printable line: odd file names are escaped."""
    if isinstance(source, Image.Image):
        file_name = getattr(source, "filename", "")
        if file_name:
            return picture_name(file_name)
        return f"PIL picture, {source.mode}, {source.width} x {source.height}"
    if isinstance(source, np.ndarray):
        return f"array, {source.dtype} {list(source.shape)}"
    if isinstance(source, bytes | bytearray | memoryview):
        return f"picture of {len(source)} bytes in memory"
    if isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        return repr(text) if not text or any(_breaks_a_line(character) for character in text) else text
    return f"object of type {type(source).__name__}"


def _breaks_a_line(character: str) -> bool:
    """Control and direction characters, line ends, and bytes that are no text. (Not the odd spaces
    that macOS puts into names of screenshots, nor the joiners inside emoji and Indic words.)"""
    return category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\u200c\u200d"


def system_reason(error: OSError) -> str:
    """Why the operating system refused, in words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return error.strerror or str(error)


def _read_file(path: Path, name: str, limit: int, needed: Needed | None) -> Image.Image:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise PictureError(name, "is a folder, expected a picture file")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer, for ever
            raise PictureError(name, "is not a regular file but a pipe, socket or device")
        file = path.open("rb")
    except OSError as error:
        raise PictureError(name, system_reason(error)) from error
    except ValueError as error:  # a NUL character in the path
        raise PictureError(name, f"cannot be a path: {error}") from error
    with file:
        return _read_stream(file, name, limit, needed)


def _read_bytes(data: bytes, name: str, limit: int, needed: Needed | None) -> Image.Image:
    with io.BytesIO(data) as file:
        return _read_stream(file, name, limit, needed)


def _read_stream(file: IO[bytes], name: str, limit: int, needed: Needed | None) -> Image.Image:
    try:
        head = file.read(256)
        file.seek(0)
    except OSError as error:
        raise PictureError(name, system_reason(error)) from error
    if not head:
        raise PictureError(name, "is empty (0 bytes)")
    formats = _formats(head, name)
    try:
        with quiet():
            picture = Image.open(file, formats=formats)
    except UnidentifiedImageError as error:
        raise PictureError(name, _not_a_picture(head)) from error
    except BROKEN as error:
        raise PictureError(name, _broken(error)) from error
    with picture:
        return _decode(picture, name, limit, needed)


def _formats(head: bytes, name: str) -> tuple[str, ...]:
    """The formats to try for a file that starts with `head`."""
    if head[4:8] != b"ftyp" or head[8:12] not in HEIC_BRANDS or b"avif" in head[:64]:
        return FORMATS
    try:
        import pillow_heif
    except ImportError as error:
        reason = "is HEIC, which needs pillow-heif (its wheels hold GPL code): pip install 'anmok[heic]'"
        raise PictureError(name, reason) from error
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _decode(picture: Image.Image, name: str, limit: int, needed: Needed | None = None) -> Image.Image:
    """Check the size, then decode, turn upright and bring to RGB."""
    _check_size(picture, name, limit)
    if needed is not None and picture.format == "JPEG":
        _shrink(picture, needed)
    try:
        with quiet() if picture.format in NOISY else nullcontext():
            picture.load()
    except BROKEN as error:
        raise PictureError(name, _broken(error)) from error
    _check_size(picture, name, limit)  # an icon may hold a picture larger than its directory says
    try:
        with quiet():
            turned = upright(picture)
        return to_rgb(turned)
    except BROKEN as error:
        raise PictureError(name, f"cannot become RGB: {error or type(error).__name__}") from error


def _shrink(picture: Image.Image, needed: Needed) -> None:
    """Have a JPEG decoded no larger than needed: its decoder can leave out the finest frequencies."""
    width, height = picture.size
    if lies_on_its_side(picture):
        high, wide = needed((width, height))
        picture.draft(None, (high, wide))
    else:
        high, wide = needed((height, width))
        picture.draft(None, (wide, high))


def _check_size(picture: Image.Image, name: str, limit: int) -> None:
    width, height = picture.size
    if width < 1 or height < 1:
        raise PictureError(name, f"has no pixels ({width} x {height})")
    if width * height > limit:
        reason = f"{width} x {height} is {width * height:,} pixels, over the limit of {limit:,}"
        raise PictureError(name, f"{reason}; if you trust it, raise max_pixels or ANMOK_MAX_PIXELS")


def _from_array(array: NDArray[np.uint8], name: str) -> Image.Image:
    if array.dtype != np.uint8:
        way = "(array * 255).round().astype('uint8')" if array.dtype.kind == "f" else "array.astype('uint8')"
        raise PictureError(
            name, f"expected uint8 values of 0 to 255, got {array.dtype}; convert it, for instance {way}"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and (array.ndim != 3 or array.shape[2] not in (3, 4)):
        way = (
            "; channels come last: array.transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        )
        raise PictureError(name, f"expected [h, w, 3] (RGB), [h, w, 4] (RGBA) or [h, w] (gray){way}")
    if 0 in array.shape:
        raise PictureError(name, f"has no pixels ({array.shape[1]} x {array.shape[0]})")
    return Image.fromarray(np.ascontiguousarray(array))


def _not_a_picture(head: bytes) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, kind in OTHER_KINDS:
        if text.startswith(start.lower()):
            return f"is not a picture but {kind}"
    if (known := kind_of(head)) not in (None, "BMP"):  # words begin with "BM" too
        return f"starts as {known} does, but its header is damaged, or truncated"
    return "is not a picture, or of a format that is not read (" + ", ".join(FORMATS) + ")"


def _broken(error: BaseException) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"far too many pixels, a decompression bomb? {error}"
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    detail = str(error).strip() or type(error).__name__
    if "truncated" in detail.lower() or isinstance(error, EOFError):
        return f"is truncated: the end of the file is missing ({detail})"
    return f"is damaged: {detail}"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's warnings about odd metadata from the user: they say nothing that helps.

    The one about decompression bombs is covered by our own limit. Python's warning filters
    belong to the whole process, hence the lock; it is held for headers, not for the pixels of
    common formats, so threads decode side by side.
    """
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
