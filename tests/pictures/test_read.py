"""Reading from every kind of source, what errors are called, and what the file system can do to us."""

import io
import os
import pickle
import struct
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from anmok.errors import PictureError
from anmok.pictures import FORMATS, picture_name, read

from .making import RED, encode, noise, quarters
from .unusual import oriented


def pixels(image):
    return np.asarray(image).astype(int)


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photo.png"
    quarters().save(path)
    return path


def test_every_source_gives_the_same_picture(photo):
    expected = pixels(quarters())
    data = photo.read_bytes()
    sources = [photo, str(photo), data, bytearray(data), memoryview(data), quarters(), np.asarray(quarters())]
    for source in sources:
        picture = read(source)
        assert picture.mode == "RGB"
        np.testing.assert_array_equal(pixels(picture), expected)


def test_array_that_is_a_view(photo):
    turned = np.asarray(quarters())[::-1, ::2]
    np.testing.assert_array_equal(pixels(read(turned)), turned)


def test_gray_and_rgba_arrays():
    gray = np.full((4, 5), 7, np.uint8)
    assert pixels(read(gray)).tolist() == pixels(read(gray[:, :, None])).tolist() == np.full((4, 5, 3), 7).tolist()
    clear = np.zeros((4, 5, 4), np.uint8)
    assert pixels(read(clear)).min() == 255


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 5, 3), np.float32), r"expected uint8 values of 0 to 255, got float32.*\* 255"),
        (np.zeros((4, 5, 3), np.int64), r"got int64.*astype"),
        (np.zeros((4, 5, 3), bool), "got bool"),
        (np.zeros((3, 40, 50), np.uint8), r"expected \[h, w, 3\].*channels come last: array.transpose\(1, 2, 0\)"),
        (np.zeros((4, 5, 2), np.uint8), r"expected \[h, w, 3\]"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"expected \[h, w, 3\]"),
        (np.zeros(9, np.uint8), r"expected \[h, w, 3\]"),
        (np.array(3, np.uint8), r"expected \[h, w, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), r"has no pixels \(5 x 0\)"),
    ],
)
def test_array_of_another_kind_is_refused_with_the_way_out(array, reason):
    with pytest.raises(PictureError, match=reason) as caught:
        read(array)
    assert caught.value.picture == f"array, {array.dtype} {list(array.shape)}"


@pytest.mark.parametrize("source", [None, 3, 3.5, ["a.jpg"], object()])
def test_what_is_no_picture_at_all_is_refused(source):
    with pytest.raises(
        PictureError, match=r"^object of type \w+: expected a path, bytes, a PIL picture or a uint8 array"
    ):
        read(source)


def test_pil_picture_of_any_mode():
    for mode in ("1", "L", "P", "RGBA", "CMYK", "YCbCr", "HSV", "LA", "PA", "La", "RGBa", "I", "F", "I;16", "I;16B"):
        picture = read(Image.new(mode, (5, 4)))
        assert (picture.mode, picture.size) == ("RGB", (5, 4))


def test_pil_picture_without_pixels_is_refused():
    with pytest.raises(PictureError, match=r"^PIL picture, RGB, 0 x 5: has no pixels \(0 x 5\)"):
        read(Image.new("RGB", (0, 5)))


def test_result_can_be_read_again_without_turning_twice():
    for kind in ("JPEG", "PNG", "TIFF"):
        once = read(oriented(6, kind))
        np.testing.assert_array_equal(pixels(read(once)), pixels(once))
        assert once.getexif().get(0x0112) is None


def test_callers_picture_is_left_as_it_was():
    with Image.open(io.BytesIO(oriented(6))) as opened:
        size = opened.size
        read(opened)
        assert (opened.size, opened.getexif()[0x0112]) == (size, 6)


def test_sixteen_bits_are_scaled_and_rounded():
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65407, 65535]], np.uint16)
    picture = read(encode(Image.fromarray(values), "PNG"))
    assert pixels(picture)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255, 255]


def test_hidden_color_under_transparency_is_not_seen():
    image = Image.new("RGBA", (2, 1), (*RED, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    assert pixels(read(encode(image, "PNG"))).tolist() == [[[255, 255, 255], [127, 127, 127]]]


# What the file system can do


def test_folder(tmp_path):
    with pytest.raises(PictureError, match="is a folder, expected a picture file") as caught:
        read(tmp_path)
    assert caught.value.picture == str(tmp_path)


def test_missing_file(tmp_path):
    for missing in (tmp_path / "none.jpg", tmp_path / "none" / "none.jpg"):
        with pytest.raises(PictureError, match="there is no such file") as caught:
            read(missing)
        assert caught.value.picture == str(missing)


def test_unreadable_file(photo, monkeypatch):
    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # a mode of 000 does not stop root, nor Windows
    with pytest.raises(PictureError, match="no permission to read it"):
        read(photo)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipe_is_refused_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PictureError, match="not a regular file"):
        read(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("path", ["nul\0character.jpg", "x" * 5000 + ".jpg", ""])
def test_path_that_cannot_be(path):
    with pytest.raises(PictureError):
        read(path)


NAMES = [
    "with spaces and (brackets).png",
    "한글 사진.png",
    "한글".encode().hex() + "🦊 emoji.png",
    "e\u0301 decomposed.png",
]


@pytest.mark.parametrize("name", NAMES)
def test_file_names_in_any_script(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encode(quarters(), "PNG"))
    assert read(str(path)).size == (48, 32)
    path.write_bytes(b"")
    with pytest.raises(PictureError) as caught:
        read(path)
    assert str(caught.value) == f"{path}: is empty (0 bytes)"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_file_names_that_would_break_a_line_or_an_encoding_are_escaped(tmp_path):
    for name in (b"two\nlines.png", b"bell\x07.png", b"not-utf8-\xff.png", "gnp.\u202ejpg".encode()):
        path = tmp_path / os.fsdecode(name)
        try:
            path.write_bytes(encode(quarters(), "PNG"))
        except OSError:  # macOS takes UTF-8 only
            continue
        assert read(path).size == (48, 32)
        assert picture_name(path) == repr(str(path))
        picture_name(path).encode("utf-8")


# Limits


def test_max_pixels_is_exact():
    data = encode(quarters(), "PNG")
    assert read(data, max_pixels=48 * 32).size == (48, 32)
    for source in (data, quarters(), np.asarray(quarters())):
        with pytest.raises(PictureError, match="48 x 32 is 1,536 pixels, over the limit of 1,535"):
            read(source, max_pixels=48 * 32 - 1)


def test_max_pixels_comes_from_the_settings(monkeypatch):
    monkeypatch.setenv("ANMOK_MAX_PIXELS", "100")
    with pytest.raises(PictureError, match="over the limit of 100;"):
        read(quarters())


def test_over_limit_picture_is_refused_before_it_is_decoded(monkeypatch):
    data = encode(quarters(), "PNG")

    def decoded(self):
        raise AssertionError("was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    with pytest.raises(PictureError, match="over the limit"):
        read(data, max_pixels=10)


def test_limit_above_pillows_warning_is_ours_to_set(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow warns above it, and refuses above twice that
    assert read(encode(quarters(), "PNG"), max_pixels=2000).size == (48, 32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)
    with pytest.raises(PictureError, match="far too many pixels"):
        read(encode(quarters(), "PNG"), max_pixels=2000)


def test_icon_that_holds_more_than_its_directory_says():
    inside = encode(noise(200), "PNG")
    icon = b"\x00\x00\x01\x00\x01\x00" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inside), 22) + inside
    with pytest.raises(PictureError, match="200 x 200 is 40,000 pixels, over the limit of 10,000"):
        read(icon, max_pixels=10_000)


def test_formats_that_run_a_program_are_never_tried():
    assert not {"EPS", "WMF", "PDF", "GIMP"} & set(FORMATS)
    Image.init()
    assert set(FORMATS) <= set(Image.OPEN)


def test_warning_filters_survive_reading_in_threads():
    before = list(warnings.filters)
    data = [oriented(1 + n % 8) for n in range(64)]
    with ThreadPoolExecutor(8) as pool:
        sizes = {picture.size for picture in pool.map(read, data)}
    assert sizes == {(48, 32)}
    assert list(warnings.filters) == before


def test_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(PictureError("a.jpg", "is empty")))
    assert (error.picture, error.reason, str(error)) == ("a.jpg", "is empty", "a.jpg: is empty")


@examples(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_a_picture_or_a_picture_error(data):
    try:
        assert read(data, max_pixels=10**6).mode == "RGB"
    except PictureError as error:
        assert error.picture == f"picture of {len(data)} bytes in memory"
        assert error.reason


# HEIC


@pytest.fixture
def heic():
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra anmok[heic] is not installed")
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = quarters().resize((96, 64), 0).transpose(Image.Transpose.ROTATE_90)
    pillow_heif.from_pillow(image).save(file, format="HEIF", quality=95, exif=exif.tobytes())
    return file.getvalue()


def test_heic_is_upright(heic):
    picture = read(heic)
    assert picture.size == (96, 64)
    assert np.abs(pixels(picture) - pixels(quarters().resize((96, 64), 0))).mean() < 6


@pytest.mark.parametrize("percent", [5, 30, 95])
def test_heic_cut_short(heic, percent):
    with pytest.raises(PictureError, match=r"truncated|damaged|not a picture"):
        read(heic[: len(heic) * percent // 100])


def test_heic_without_its_library_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    path = tmp_path / "phone.heic"
    path.write_bytes(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100))
    with pytest.raises(
        PictureError, match=r"phone.heic: is HEIC, which needs pillow-heif.*pip install 'anmok\[heic\]'"
    ):
        read(path)


# --- JPEGs that are shrunk while they are decoded


def jpeg(height: int, width: int, orientation: int = 1) -> bytes:
    y, x = np.mgrid[0:height, 0:width]
    picture = Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(
    ("needed", "factor"), [((600, 500), 1), ((400, 300), 2), ((201, 100), 2), ((150, 100), 4), ((1, 1), 8)]
)
def test_a_jpeg_is_decoded_no_larger_than_needed(orientation, needed, factor):
    """800 high and 640 wide when it is upright; half a pixel is rounded up."""
    stored = (640, 800) if orientation in (6, 8) else (800, 640)
    asked = []

    def enough(given):
        asked.append(given)
        return needed

    whole, small = read(jpeg(*stored, orientation)), read(jpeg(*stored, orientation), needed=enough)
    assert asked == [(800, 640)]
    assert (small.height, small.width) == (800 // factor, 640 // factor)
    expected = whole.resize(small.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(small, int) - np.asarray(expected, int)).mean() < 4


def test_only_jpegs_are_shrunk(tmp_path):
    picture = Image.new("RGB", (640, 400), "red")
    for suffix in ("png", "webp", "gif"):
        picture.save(tmp_path / f"a.{suffix}")
        assert read(tmp_path / f"a.{suffix}", needed=lambda _: (10, 10)).size == (640, 400)
    assert read(picture, needed=lambda _: (10, 10)).size == (640, 400)


def test_a_cut_jpeg_is_still_refused_when_it_is_shrunk():
    with pytest.raises(PictureError, match="truncated"):
        read(jpeg(800, 640)[:2000], needed=lambda _: (10, 10))


def test_the_limit_of_pixels_is_that_of_the_whole_picture():
    with pytest.raises(PictureError, match="over the limit"):
        read(jpeg(800, 640), max_pixels=1000, needed=lambda _: (10, 10))
