"""What another process prepares is what the encoder would have made itself."""

import pickle

import numpy as np
import pytest
from PIL import Image

from anmok.embeddings import Embeddings
from anmok.errors import PictureError
from anmok.pictures import Preparer, Transform, picture_size

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def test_prepared_pictures_are_encoded_as_whole_ones(tiny_encoder):
    pictures = [PIXELS, PIXELS[::-1], PIXELS[:, :20]]
    prepare = pickle.loads(pickle.dumps(tiny_encoder.preparer()))
    found = tiny_encoder.encode_prepared([prepare(picture) for picture in pictures])
    assert np.array_equal(found.vectors, tiny_encoder.encode_image(pictures).vectors)
    assert found.fingerprint == tiny_encoder.fingerprint
    nothing = tiny_encoder.encode_prepared([])
    assert isinstance(nothing, Embeddings) and nothing.vectors.shape == (0, tiny_encoder.dimension)


def test_a_bad_picture_is_named():
    with pytest.raises(PictureError, match="is empty"):
        Preparer(Transform((32, 32)))(b"")


def test_a_large_jpeg_is_shrunk_only_where_that_was_allowed(tmp_path):
    file = tmp_path / "large.jpg"
    Image.fromarray(np.tile(PIXELS, (20, 20, 1))).save(file, quality=95)
    whole, shrunk = (Preparer(Transform((32, 32)), shrink)(file)[0] for shrink in (False, True))
    assert whole.shape == shrunk.shape == (32, 32, 3)
    assert not np.array_equal(whole, shrunk)
    assert np.abs(whole.astype(int) - shrunk).mean() < 16


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_the_size_is_as_it_is_seen(tmp_path, kind):
    file = tmp_path / "picture"
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    how = {"exif": exif} if kind == "JPEG" else {}
    Image.fromarray(PIXELS).save(file, kind, **how)
    assert picture_size(file.read_bytes()) == ((40, 56) if kind == "JPEG" else (56, 40))
    assert picture_size(PIXELS) == (56, 40) and picture_size(b"no picture") == (None, None)
