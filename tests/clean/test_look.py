import numpy as np
import pytest

from anmok.clean.look import look_at, prepare_for
from anmok.errors import PictureError

from .making import noise, stored


def test_what_was_prepared_encodes_as_the_picture_itself(photos, mini, tiny_encoder):
    for encoder in (mini, tiny_encoder):  # one squashes, the other crops
        prepared = [look_at(stored(photo), prepare_for(encoder)).input for photo in photos.values()]
        assert max(array.nbytes for array in prepared) < 30_000
        expected = encoder.encode_image(list(photos.values())).vectors
        assert np.allclose(encoder.encode_image(prepared).vectors, expected, atol=1e-6)


def test_bytes_and_file_look_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(stored(noise(0)))
    first, second = look_at(path), look_at(path.read_bytes())
    assert (first.file, first.pixels, first.hash) == (second.file, second.pixels, second.hash)
    assert np.array_equal(first.signature, second.signature)


def test_digests_tell_files_and_pixels_apart():
    png, bitmap, other = (look_at(stored(noise(seed), form)) for seed, form in ((0, "PNG"), (0, "BMP"), (1, "PNG")))
    assert png.file != bitmap.file
    assert png.pixels == bitmap.pixels != other.pixels
    tall, wide = noise(0).resize((8, 4)), noise(0).resize((4, 8))
    flat = [look_at(stored(picture.point(lambda _: 7))) for picture in (tall, wide)]
    assert flat[0].pixels != flat[1].pixels  # the same bytes in another shape


def test_what_is_no_picture_says_why(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        look_at(tmp_path / "none.jpg")
    with pytest.raises(PictureError, match="is empty"):
        look_at(b"")


def test_no_memory_is_no_crash(monkeypatch):
    def full(picture):
        raise MemoryError

    monkeypatch.setattr("anmok.clean.look.view", full)
    with pytest.raises(PictureError, match="not enough memory"):
        look_at(stored(noise(0)))
