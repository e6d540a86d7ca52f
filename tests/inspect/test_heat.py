import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from anmok.inspect.heat import components, enlarge
from anmok.inspect.inspection import find_boxes


@settings(deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_components_are_scipys(mask):
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    assert sorted(map(str, components(mask))) == sorted(map(str, ndimage.find_objects(labels)))


def test_enlarging_is_bilinear():
    """Against torch's, where a pixel's middle is its place."""
    from torch import from_numpy
    from torch.nn.functional import interpolate

    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    expected = interpolate(from_numpy(values)[None, None], size=(40, 63), mode="bilinear")[0, 0].numpy()
    np.testing.assert_allclose(enlarge(values, (40, 63), smooth=0), expected, atol=1e-5)


def test_smoothing_is_gaussian():
    values = np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32)
    plain = enlarge(values, (96, 96), smooth=0)
    expected = ndimage.gaussian_filter(plain, 4, truncate=8)
    inner = slice(24, 72)  # at the border the two differ: cut here, mirrored there
    np.testing.assert_allclose(enlarge(values, (96, 96), smooth=0.5)[inner, inner], expected[inner, inner], atol=1e-4)


@pytest.mark.parametrize("smooth", [0.0, 0.5, 2.0])
def test_a_flat_map_stays_flat(smooth):
    np.testing.assert_allclose(enlarge(np.full((4, 9), 3, np.float32), (31, 77), smooth=smooth), 3, rtol=1e-5)


def test_boxes_in_pixels_of_the_picture():
    heat = np.full((10, 20), 0.1, np.float32)
    heat[2:4, 5:8], heat[7:9, 15:18] = 3, 2
    first, second = find_boxes(heat, (200, 100))
    assert (first.left, first.top, first.right, first.bottom, first.heat) == (50, 20, 80, 40, 3)
    assert (second.left, second.top, second.right, second.bottom, second.heat) == (150, 70, 180, 90, 2)


def test_the_hottest_place_where_none_reaches_the_threshold():
    heat = np.full((10, 20), 0.1, np.float32)
    heat[4, 6] = 0.7
    (box,) = find_boxes(heat, (20, 10))
    assert (box.left, box.top, box.right, box.bottom) == (6, 4, 7, 5)
