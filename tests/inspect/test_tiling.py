import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anmok.inspect.tiling import OVERLAP, Tiling

sides = st.integers(1, 4000)
ENCODERS = [((96, 96), (12, 12)), ((224, 224), (14, 14)), ((384, 384), (27, 27))]  # tile, cells


@settings(deadline=None, max_examples=40)
@given(sides, sides, st.integers(1, 30), st.sampled_from(ENCODERS))
def test_tiles_are_few_and_cover_the_canvas(height, width, most, encoder):
    tile, cells = encoder
    tiling = Tiling.choose((height, width), tile=tile, cells=cells, most=most)
    assert 1 <= len(tiling) <= most
    for starts, length, side in zip((tiling.rows, tiling.columns), tiling.grid, cells, strict=True):
        steps = np.diff(starts)
        assert starts[0] == 0 and starts[-1] + side == length
        assert (steps > 0).all() and (steps <= side - np.floor(OVERLAP * side)).all()
    assert Tiling.from_dict(tiling.to_dict()) == tiling


@settings(deadline=None, max_examples=40)
@given(sides, sides)
def test_a_picture_is_enlarged_only_where_it_is_smaller_than_a_tile(height, width):
    tiling = Tiling.choose((height, width), tile=(96, 96), cells=(12, 12), most=16)
    if min(height, width) >= 96:
        assert tiling.canvas[0] <= height + 4 and tiling.canvas[1] <= width + 4  # whole cells of 8 pixels


@pytest.mark.parametrize("size", [(200, 400), (96, 96), (700, 300), (40, 24)])
def test_cut_and_join_give_each_place_its_own_pixels(size):
    tiling = Tiling.choose(size, tile=(96, 96), cells=(12, 12), most=16)
    rows, columns = tiling.grid
    numbered = np.arange(rows * columns).reshape(rows, columns)
    pixels = np.repeat(np.repeat(numbered, 8, axis=0), 8, axis=1)
    canvas = Image.fromarray(np.stack([pixels % 256, pixels // 256, 0 * pixels], axis=-1).astype(np.uint8))
    assert canvas.size == tiling.canvas[::-1]
    tiles = np.stack(tiling.cut(canvas))[:, ::8, ::8].astype(np.float32)
    joined = tiling.join(tiles)
    np.testing.assert_array_equal(joined[..., 0] + 256 * joined[..., 1], numbered)


def test_where_tiles_overlap_the_middle_one_counts():
    tiling = Tiling((96, 96), (12, 12), rows=(0,), columns=(0, 8))
    seen_by = np.stack([np.full((12, 12, 1), k, np.float32) for k in range(2)])
    assert tiling.join(seen_by)[0, :, 0].tolist() == [0] * 10 + [1] * 10


def test_a_narrow_picture_keeps_its_shape():
    tiling = Tiling.choose((40, 24), tile=(96, 96), cells=(12, 12), most=16)
    assert tiling.canvas == (160, 96)


def test_one_tile_only():
    assert Tiling.choose((300, 900), tile=(96, 96), cells=(12, 12), most=1).canvas == (96, 96)
