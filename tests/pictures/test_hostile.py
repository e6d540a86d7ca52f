"""Every hostile file gives the right picture, or a PictureError naming it and the reason."""

import contextlib
import gc
import io
import warnings

import numpy as np
import pytest
from PIL import Image

from anmok.errors import PictureError
from anmok.pictures import read

from .hostile import hostile
from .unusual import unusual

CASES = hostile() + unusual()
PICTURES = [case for case in CASES if case.picture is not None]


def test_there_are_enough_of_them_and_no_name_twice():
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("how", ["file", "bytes"])
def test_hostile_file(case, how, tmp_path):
    path = tmp_path / case.name
    path.write_bytes(case.data)
    source, name = (path, str(path)) if how == "file" else (case.data, f"picture of {len(case.data)} bytes in memory")
    if case.picture is None:
        with pytest.raises(PictureError, match=case.reason) as caught:
            read(source)
        assert caught.value.picture == name
        assert str(caught.value) == f"{name}: {caught.value.reason}"
        assert "\n" not in str(caught.value)
        return
    picture = read(source)
    assert picture.mode == "RGB"
    assert picture.size == case.picture.size
    difference = np.abs(np.asarray(picture).astype(int) - np.asarray(case.picture).astype(int))
    assert difference.mean() <= case.tolerance


@pytest.mark.parametrize("case", PICTURES, ids=lambda case: case.name)
def test_hostile_file_opened_with_pillow(case, tmp_path):
    """A picture that the caller opened gives the same, lazily loaded as it is."""
    path = tmp_path / case.name
    path.write_bytes(case.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        opened = Image.open(path)
    with opened:
        np.testing.assert_array_equal(np.asarray(read(opened)), np.asarray(read(path)))


def test_no_file_is_left_open(tmp_path):
    """Warnings are errors here, and a forgotten file warns when it is collected."""
    for case in CASES:
        path = tmp_path / case.name
        path.write_bytes(case.data)
        with contextlib.suppress(PictureError):
            read(path)
        path.unlink()  # on Windows, fails for an open file
    gc.collect()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "ICO", "JPEG2000", "AVIF"])
def test_any_damage_gives_a_picture_or_a_picture_error(kind):
    """A few hundred random damages of each format; whatever Pillow throws comes out as a PictureError."""
    random = np.random.default_rng(len(kind))
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (24, 20, 3), np.uint8)).save(file, kind)
    whole = np.frombuffer(file.getvalue(), np.uint8)
    outcomes = set()
    for _ in range(150):
        damaged = whole.copy()
        places = random.integers(0, min(len(whole), int(random.choice([64, 256, len(whole)]))), random.integers(1, 6))
        damaged[places] = random.integers(0, 256, len(places))
        try:
            outcomes.add(read(damaged.tobytes(), max_pixels=1_000_000).mode)
        except PictureError:
            outcomes.add("refused")
    assert "refused" in outcomes
    assert outcomes <= {"RGB", "refused"}
