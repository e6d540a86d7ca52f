"""The map lies where the model looked: a bright dot, every way to resize, pictures of all shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anmok.explain.heatmap import LONGEST, Grid, HeatMap, place
from anmok.pictures import Transform

SIDE, CELL = 32, 4
TRANSFORMS = {
    "shortest": Transform(size=(SIDE, SIDE)),
    "shortest, transformers": Transform(size=(SIDE, SIDE), rounding="transformers"),
    "shortest, larger first": Transform(size=(SIDE, SIDE), resize_to=(40, 40)),
    "squash": Transform(size=(SIDE, SIDE), resize="squash"),
    "squash, then crop": Transform(size=(SIDE, SIDE), resize="squash", resize_to=(40, 40)),
    "longest": Transform(size=(SIDE, SIDE), resize="longest", fill=(40, 40, 40)),
    "naflex": Transform(size=(SIDE, SIDE), resize="naflex", patch_size=CELL, max_patches=64),
}


def grid_of(pixels: np.ndarray) -> Grid:
    """What a perfect tower would say: how bright each cell of its input is."""
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    cut = pixels[: rows * CELL, : columns * CELL, 0].astype(np.float32)
    bright = cut.reshape(rows, CELL, columns, CELL).mean(axis=(1, 3))
    return Grid(bright - np.median(bright), (rows * CELL / pixels.shape[0], columns * CELL / pixels.shape[1]))


def mapped(transform: Transform, picture: Image.Image):
    size = (picture.height, picture.width)
    return place(grid_of(transform(picture)), transform.window(size), size)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
@pytest.mark.parametrize("size", [(90, 200), (200, 90), (120, 120), (64, 97), (31, 45)], ids=str)
def test_a_bright_dot_is_hot_where_it_is(transform, size):
    height, width = size
    (top, bottom), (left, right) = transform.window(size)
    for down, across in [(0.3, 0.3), (0.7, 0.4), (0.5, 0.8)]:
        y = max(0, top) + down * (min(height, bottom) - max(0, top))  # in the part that is seen
        x = max(0, left) + across * (min(width, right) - max(0, left))
        cell = CELL * (bottom - top) / transform(Image.new("RGB", (width, height))).shape[0]
        radius = max(2, cell * 0.8)
        rows, columns = np.mgrid[:height, :width] + 0.5
        dot = np.where(np.hypot(rows - y, columns - x) < radius, 255, 40).astype(np.uint8)
        values, strength, _ = mapped(transform, Image.fromarray(np.stack([dot] * 3, axis=-1)))
        assert values.shape == size
        assert strength > 0
        hot = np.maximum(values, 0) ** 2
        center = (hot * rows).sum() / hot.sum(), (hot * columns).sum() / hot.sum()
        across_cell = CELL * (right - left) / transform(Image.new("RGB", (width, height))).shape[1]
        assert abs(center[0] - y) < 0.75 * cell
        assert abs(center[1] - x) < 0.75 * across_cell


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_the_window_resized_is_what_the_model_takes(transform):
    """The window, cut out of a smooth picture and resized by itself, is the transform's result."""
    height, width = 240, 330
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack([rows * 255 / height, columns * 255 / width, 0 * rows], axis=-1).astype(np.uint8)
    picture = Image.fromarray(smooth)
    result = transform(picture)
    (top, bottom), (left, right) = transform.window((height, width))
    if transform.resize == "longest":
        assert (left, right) == (0, width)
        assert top < 0 and bottom > height
        return
    own = picture.resize(result.shape[1::-1], Image.Resampling.BICUBIC, box=(left, top, right, bottom))
    assert np.abs(np.asarray(own).astype(int) - result)[2:-2, 2:-2].max() <= 2


def test_what_the_crop_leaves_out_is_not_seen():
    values, _, seen = place(Grid(np.ones((8, 8), np.float32)), TRANSFORMS["shortest"].window((60, 120)), (60, 120))
    assert seen == (0, 30, 60, 90)
    assert (values[:, :30] == 0).all()
    assert (values[:, 30:90] == 1).all()
    assert (values[:, 90:] == 0).all()


def test_pixels_that_fill_no_patch_are_not_seen():
    """SigLIP So400m: 27 patches of 14 pixels in 384."""
    grid = Grid(np.ones((27, 27), np.float32), (378 / 384, 378 / 384))
    _, _, seen = place(grid, ((0.0, 384.0), (0.0, 384.0)), (384, 384))
    assert seen == (0, 0, 378, 378)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 20), st.integers(1, 20),
    st.sampled_from(list(TRANSFORMS.values())),
)  # fmt: skip
def test_any_picture_gets_a_map(height, width, rows, columns, transform):
    values = np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)
    laid, strength, (top, left, bottom, right) = place(Grid(values), transform.window((height, width)), (height, width))
    assert laid.dtype == np.float32
    assert max(laid.shape) == min(LONGEST, max(height, width))
    assert np.isfinite(laid).all()
    assert np.abs(laid).max() == pytest.approx(1, abs=1e-6) or strength == 0
    assert strength <= np.abs(values).max() + 1e-5
    assert 0 <= top <= bottom <= laid.shape[0] and 0 <= left <= right <= laid.shape[1]


def test_nothing_found_is_a_map_of_zeros():
    values, strength, _ = place(Grid(np.zeros((3, 3), np.float32)), ((0.0, 9.0), (0.0, 9.0)), (9, 9))
    assert strength == 0
    assert not values.any()


def overlaid(values: np.ndarray, picture: np.ndarray, seen=None) -> np.ndarray:
    seen = seen or (0, 0, *values.shape)
    heat = HeatMap(np.asarray(values, np.float32), "occlusion", 0.3, 0.1, seen)
    return np.asarray(heat.overlay(picture)).astype(int)


GRAY = np.full((40, 60, 3), 128, np.uint8)


def test_warm_for_cold_against_nothing_for_nothing():
    values = np.zeros((4, 6))
    values[:, :2], values[:, 4:] = 1, -1
    laid = overlaid(values, GRAY)
    assert laid.shape == GRAY.shape
    warm, still, cold = laid[20, 5], laid[20, 30], laid[20, 55]
    assert warm[0] > cold[0] + 60 and cold[2] > warm[2] + 60
    assert np.abs(still - 128).max() <= 2


def test_the_picture_stays_recognisable():
    """Under the hottest place, light and dark are still apart."""
    picture = GRAY.copy()
    picture[::4] = 230
    laid = overlaid(np.ones((4, 6)), picture)
    assert laid[0].sum() - laid[2].sum() > 40


def test_what_is_not_seen_is_veiled():
    laid = overlaid(np.zeros((40, 60)), GRAY, seen=(0, 10, 40, 50))
    assert (laid[:, :10] > 180).all()
    assert (laid[:, 12:48] < 140).all()


def test_colors_brighten_evenly():
    from anmok.explain.overlay import color_of

    for sign in (1, -1):
        colors = color_of(sign * np.linspace(0, 1, 9))
        linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
        lightness = np.cbrt(linear @ [0.2126, 0.7152, 0.0722])  # as CIE L* sees it
        steps = np.diff(lightness)
        assert (steps > 0).all()
        assert steps.max() < 2 * steps.min()
