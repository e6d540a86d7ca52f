import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anmok.train.augment import augment
from anmok.train.recipe import AugmentConfig

NOTHING = AugmentConfig(scale=(1.0, 1.0), ratio=(1.0, 1.0))


def picture(width=40, height=30):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def varied(config, seed=0, source=None):
    return augment(source or picture(), config, np.random.default_rng(seed))


def test_nothing_asked_for_leaves_the_picture_as_it_is():
    assert np.array_equal(varied(NOTHING), picture())


def test_equal_numbers_give_equal_pictures():
    config = AugmentConfig(scale=(0.3, 0.9), mirror=0.5, turn=20, color=0.4, gray=0.2, erase=0.5)
    first, again, other = varied(config, 5), varied(config, 5), varied(config, 6)
    assert np.array_equal(first, again)
    assert first.size != other.size or not np.array_equal(first, other)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 1), st.integers(0, 50))
def test_the_crop_keeps_the_share_that_was_asked_for(width, height, low, seed):
    config = AugmentConfig(scale=(low, low), ratio=(1.0, 1.0))
    result = varied(config, seed, picture(width, height))
    assert 1 <= result.width <= width
    assert 1 <= result.height <= height
    assert abs(result.width - width * low**0.5) <= 1
    assert abs(result.height - height * low**0.5) <= 1


def test_mirror_gray_and_erase_do_what_they_say():
    original = np.asarray(picture())
    assert np.array_equal(varied(AugmentConfig((1, 1), (1, 1), mirror=1.0)), original[:, ::-1])
    gray = np.asarray(varied(AugmentConfig((1, 1), (1, 1), gray=1.0)))
    assert np.array_equal(gray[..., 0], gray[..., 1])
    erased = np.asarray(varied(AugmentConfig((1, 1), (1, 1), erase=1.0)))
    changed = (erased != original).any(axis=2)
    assert 0.01 < changed.mean() < 0.25
    assert len(np.unique(erased[changed], axis=0)) == 1


@pytest.mark.parametrize("option", ["mirror", "gray", "erase"])
def test_probabilities_hold(option):
    config = AugmentConfig((1, 1), (1, 1), **{option: 0.3})
    original = np.asarray(picture())
    changed = [not np.array_equal(varied(config, seed), original) for seed in range(300)]
    assert 0.2 < np.mean(changed) < 0.4


def test_color_is_changed_and_stays_in_range():
    result = np.asarray(varied(AugmentConfig((1, 1), (1, 1), color=0.5), 3))
    assert result.shape == (30, 40, 3)
    assert not np.array_equal(result, picture())


def test_a_turn_fills_the_corners():
    white = Image.new("RGB", (40, 40), "white")
    result = np.asarray(augment(white, AugmentConfig((1, 1), (1, 1), turn=45), np.random.default_rng(1)))
    assert result.min() < 200
    assert tuple(result[20, 20]) == (255, 255, 255)
