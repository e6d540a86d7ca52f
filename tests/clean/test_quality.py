import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from anmok.clean import CleanSettings, judge_picture, measure_quality, view
from anmok.clean.quality import VIEW_SIDE, Quality

from .making import noise, recompressed, scaled


def reason(picture, **thresholds):
    verdict = judge_picture(measure_quality(view(picture), picture.size), CleanSettings(**thresholds))
    return verdict[0] if verdict else None


def sharpness(picture):
    return measure_quality(view(picture), picture.size).sharpness


def test_no_good_photograph_is_dropped(photos):
    assert {name: reason(photo) for name, photo in photos.items()} == dict.fromkeys(photos)


@pytest.mark.parametrize("sigma", [2.5, 5, 8])  # of 213 to 320 pixels
def test_every_blurred_photograph_is_dropped(photos, sigma):
    spoilt = {name: photo.filter(ImageFilter.GaussianBlur(sigma)) for name, photo in photos.items()}
    assert {name: reason(photo) for name, photo in spoilt.items()} == dict.fromkeys(photos, "blurred")


def test_blur_is_seen_in_large_pictures_and_after_recompression(photos):
    large = scaled(photos["photo-cat"], 4).filter(ImageFilter.GaussianBlur(12))
    assert reason(large) == "blurred"
    assert reason(recompressed(photos["photo-cat"].filter(ImageFilter.GaussianBlur(3)), 60)) == "blurred"


def test_a_calm_sharp_picture_is_not_blurred():
    calm = np.full((200, 300, 3), 120, np.uint8)
    calm[80:, 100:] = 140  # hardly any contrast, hardly any detail, and sharp
    assert reason(Image.fromarray(calm)) is None


def test_sharpness_does_not_depend_on_contrast(photos):
    for photo in photos.values():
        faint = ImageEnhance.Contrast(photo).enhance(0.5)
        assert sharpness(faint) == pytest.approx(sharpness(photo), rel=0.2)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda photo: Image.new("RGB", photo.size, (200, 30, 30)), "blank"),
        (lambda photo: Image.blend(Image.new("RGB", photo.size, "gray"), photo, 0.03), "blank"),
        (lambda photo: ImageEnhance.Brightness(photo).enhance(0.07), "too dark"),
        (lambda photo: Image.blend(Image.new("RGB", photo.size, "white"), photo, 0.07), "too bright"),
        (lambda photo: photo.resize((48, 36)), "low resolution"),
        (lambda photo: photo.resize((640, 64)), "extreme shape"),
        (lambda photo: photo.resize((64, 640)), "extreme shape"),
    ],
)
def test_planted_defects_are_all_found(photos, spoil, expected):
    light = [photos[name] for name in ("photo-cat", "photo-coffee", "photo-brick-wall", "photo-rocket", "photo-clock")]
    assert [reason(spoil(photo), min_contrast=12 if expected == "blank" else 0) for photo in light] == [expected] * 5


def test_red_on_green_of_one_brightness_is_not_blank():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32] = (180, 0, 0)
    pixels[:, 32:] = (0, 92, 0)
    assert np.ptp(np.asarray(Image.fromarray(pixels).convert("L"))) <= 1
    assert reason(Image.fromarray(pixels)) is None


def test_limits_belong_to_what_is_kept():
    assert reason(noise(0, 64)) is None
    assert reason(noise(0, 63)) == "low resolution"
    assert reason(noise(0).resize((192, 64))) is None
    assert reason(noise(0).resize((193, 64))) == "extreme shape"


def test_detail_says_what_was_measured():
    quality = Quality(width=40, height=30, contrast=100, dark=0, bright=255, sharpness=1.5)
    assert judge_picture(quality, CleanSettings()) == ("low resolution", "40 x 30 pixels, below 64")


def test_what_is_kept_is_not_dropped_for_it():
    assert reason(noise(0, 30), keep=frozenset({"low resolution"})) is None


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(0, 255))
def test_every_size_can_be_measured(width, height, level):
    picture = Image.new("RGB", (width, height), (level, level, 255 - level))
    small = view(picture)
    assert min(small.size) == min(width, height, VIEW_SIDE)
    quality = measure_quality(small, picture.size)
    assert (quality.width, quality.height, quality.contrast) == (width, height, 0)
    assert np.isfinite(quality.sharpness)
