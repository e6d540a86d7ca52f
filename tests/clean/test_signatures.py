import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from anmok.clean.signatures import SIGNATURE, signature, similarity

from .making import cropped, mirrored, noise, recompressed, scaled

# All detail and no whole: of these nothing is left at 32 pixels that could be found in a cropped copy.
TEXTURES = ("photo-gravel", "photo-brick-wall", "photo-grass", "photo-galaxies")


def alike(first, second, **options):
    return float(similarity(signature(first)[None], signature(second)[None], **options)[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda photo: recompressed(photo, 20),
        lambda photo: scaled(photo, 0.4),
        lambda photo: scaled(photo, 2),
        lambda photo: photo.resize((300, 200)),
        lambda photo: ImageEnhance.Brightness(photo).enhance(0.6),
        lambda photo: ImageEnhance.Contrast(photo).enhance(1.2),
        lambda photo: cropped(photo, 0.04, 0, 0, 0.04),
        lambda photo: cropped(photo, 0.02, 0.06, 0.06, 0.02),
        lambda photo: cropped(photo, 0.06, 0.06, 0.06, 0.06),
    ],
)
def test_copies_are_alike(photos, change):
    assert min(alike(photo, change(photo)) for name, photo in photos.items() if name not in TEXTURES) >= 0.96


def test_different_photographs_are_not_alike(photos):
    pairs = list(itertools.combinations(photos.values(), 2))
    assert max(alike(one, two) for one, two in pairs) < 0.8
    assert max(alike(one, two, mirrored=True) for one, two in pairs) < 0.8


def test_a_red_heart_is_not_a_green_one():
    hearts = []
    for color in ("red", "green"):
        heart = Image.new("RGB", (72, 72), "white")
        ImageDraw.Draw(heart).ellipse((10, 10, 60, 60), fill=color)
        hearts.append(heart)
    assert alike(*hearts) < 0.75
    assert alike(hearts[0], hearts[0]) == pytest.approx(1, abs=1e-5)


def test_two_things_on_one_colored_ground_are_not_alike():
    """The ground alone, far from gray, must not make them so."""
    things = []
    for place, color in (((20, 20, 34, 34), "purple"), ((40, 26, 54, 40), "green")):
        ground = Image.new("RGB", (72, 72), (247, 214, 36))
        ImageDraw.Draw(ground).ellipse(place, fill=color)
        things.append(ground)
    assert alike(*things) < 0.5


def test_a_mirrored_copy_is_alike_only_when_that_is_asked(photos):
    photo = photos["photo-cat"]
    assert alike(photo, mirrored(photo)) < 0.9
    assert alike(photo, mirrored(photo), mirrored=True) > 0.99
    assert alike(photo, cropped(mirrored(photo), 0.05, 0.05, 0, 0), mirrored=True) >= 0.96


def test_the_order_of_the_two_does_not_matter():
    first = np.stack([signature(noise(seed)) for seed in range(100)])  # more than a chunk
    second = np.roll(first, 1, axis=0)
    for turned in (False, True):
        assert np.allclose(
            similarity(first, second, mirrored=turned), similarity(second, first, mirrored=turned), atol=2e-5
        )


def test_one_color_is_like_nothing():
    plain = Image.new("RGB", (50, 50), "gray")
    assert alike(plain, plain) == 0
    assert abs(alike(plain, noise(0))) < 0.01


def test_no_pairs_give_no_similarities():
    assert similarity(np.empty((0, *SIGNATURE), np.uint8), np.empty((0, *SIGNATURE), np.uint8)).shape == (0,)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 1000))
def test_every_size_has_a_signature(width, height, seed):
    picture = noise(seed).resize((width, height))
    assert signature(picture).shape == SIGNATURE
    assert signature(picture).dtype == np.uint8
    assert -1 <= alike(picture, noise(seed + 1)) <= 1
