"""What a Transform promises for any picture, and what it refuses. Equality with references: test_parity."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anmok.errors import CheckpointError
from anmok.pictures import Transform, normalize, normalize_patches

SIDES = st.integers(1, 90)
FIXED = [
    Transform(size=(24, 24)),
    Transform(size=(24, 17)),
    Transform(size=(20, 24), resize_to=(31, 31), rounding="transformers"),
    Transform(size=(40, 24), resize_to=(16, 16), rounding="transformers"),
    Transform(size=(24, 20), resize="squash", interpolation="bilinear"),
    Transform(size=(24, 24), resize="longest", fill=(9, 8, 7)),
]
NAFLEX = Transform(size=(64, 64), resize="naflex", patch_size=16, max_patches=16)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(FIXED), SIDES, SIDES, st.integers(0, 255))
def test_any_picture_gets_the_size_and_a_constant_one_stays_constant(transform, height, width, value):
    pixels = transform(np.full((height, width, 3), value, np.uint8))
    assert pixels.shape == (*transform.size, 3)
    assert pixels.dtype == np.uint8
    allowed = {value} if transform.resize == "squash" else {value, *transform.fill}
    assert set(np.unique(pixels).tolist()) <= allowed
    assert value in pixels


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(0, 255))
def test_patches_of_any_picture_fit_and_say_which_are_real(height, width, value):
    patches, mask, (rows, columns) = NAFLEX.patches(np.full((height, width, 3), value, np.uint8))
    assert patches.shape == (16, 16 * 16 * 3)
    assert mask.shape == (16,)
    assert 1 <= rows * columns == mask.sum() <= 16
    assert (patches[mask] == value).all()
    assert not patches[~mask].any()


@settings(max_examples=20, deadline=None)
@given(SIDES, SIDES)
def test_squashed_mirror_picture_is_the_mirrored_squash(height, width):
    transform = Transform(size=(24, 20), resize="squash")
    image = np.random.default_rng(height * 100 + width).integers(0, 256, (height, width, 3), np.uint8)
    assert np.abs(transform(image)[:, ::-1].astype(int) - transform(image[:, ::-1]).astype(int)).max() <= 1


def test_patches_are_cut_row_by_row():
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
    transform = Transform(size=(32, 32), resize="naflex", patch_size=16, max_patches=6)
    patches, mask, shape = transform.patches(image)
    assert shape == (2, 3)
    assert mask.all()
    np.testing.assert_array_equal(patches[4].reshape(16, 16, 3), transform(image)[16:32, 16:32])


def test_longest_side_padding_has_the_fill_color():
    pixels = Transform(size=(10, 10), resize="longest", fill=(1, 2, 3))(np.full((10, 4, 3), 200, np.uint8))
    np.testing.assert_array_equal(pixels[:, 3:7], 200)
    assert (pixels[:, :3] == (1, 2, 3)).all()
    assert (pixels[:, 7:] == (1, 2, 3)).all()


@pytest.mark.parametrize("transform", [*FIXED, NAFLEX])
@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1)])
def test_very_thin_picture_takes_little_memory(transform, size):
    image = Image.new("RGB", size, (5, 6, 7))
    pixels = transform(image)
    assert pixels.size < 10**5
    assert (pixels == (5, 6, 7)).all(axis=2).any()


def test_thin_picture_at_full_size():
    """Scaled to 224 on its short side it would have a thousand million pixels."""
    pixels = Transform(size=(224, 224))(Image.new("L", (20_000, 1), 77).convert("RGB"))
    assert pixels.shape == (224, 224, 3)
    assert (pixels == 77).all()


def test_picture_that_is_not_rgb_is_read_first():
    assert (Transform(size=(8, 8))(Image.new("RGBA", (9, 9), (1, 2, 3, 0))) == 255).all()


@pytest.mark.parametrize("transform", FIXED)
def test_result_belongs_to_the_caller(transform):
    """A read-only array would make PyTorch warn."""
    pixels = transform(Image.new("RGB", transform.size[::-1]))
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous


def test_normalize_is_the_formula_and_channels_come_first():
    transform = Transform(size=(2, 2), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 2, 2, 3), np.uint8)
    result = normalize(pixels, transform)
    assert (result.shape, result.dtype) == ((3, 3, 2, 2), np.float32)
    assert result.flags.c_contiguous
    expected = (pixels / 255 - np.array(transform.mean)) / np.array(transform.std)
    np.testing.assert_allclose(result, expected.transpose(0, 3, 1, 2), atol=1e-6)


def test_normalize_patches_zeroes_the_padding_only_with_a_mask():
    patches, mask, _ = NAFLEX.patches(np.full((16, 70, 3), 128, np.uint8))
    with_mask = normalize_patches(patches[None], NAFLEX, mask[None])
    without = normalize_patches(patches[None], NAFLEX)
    assert with_mask.dtype == without.dtype == np.float32
    np.testing.assert_array_equal(with_mask[0, mask], without[0, mask])
    assert not with_mask[0, ~mask].any()
    assert (without[0, ~mask] < 0).all()


# As data


@pytest.mark.parametrize("transform", [*FIXED, NAFLEX])
def test_dict_and_back_through_json(transform):
    assert Transform.from_dict(json.loads(json.dumps(transform.to_dict()))) == transform


def test_two_ways_to_say_the_same_are_equal():
    assert Transform(size=(9, 9), resize="squash", crop=True) == Transform(size=(9, 9), resize="squash", crop=False)
    assert Transform(size=(9, 9), resize_to=(9, 9)) == Transform(size=(9, 9))
    assert Transform(size=(9, 9), resize="squash", rounding="transformers") == Transform(size=(9, 9), resize="squash")
    assert Transform(size=(9, 9), rounding="transformers") != Transform(size=(9, 9))
    assert Transform(size=(9, 9), resize="longest", fill=(1, 1, 1)) != Transform(size=(9, 9), resize="longest")


def test_dict_with_an_unknown_or_missing_field_is_refused():
    with pytest.raises(CheckpointError, match=r"'interpolatoin' is not a field. Did you mean 'interpolation'"):
        Transform.from_dict({"size": [8, 8], "interpolatoin": "box"})
    with pytest.raises(CheckpointError, match="the field 'size' is missing"):
        Transform.from_dict({"resize": "squash"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize": "crop"}, "resize is 'crop', expected one of shortest, squash"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'"),
        ({"rounding": "up"}, "rounding is 'up'"),
        ({"size": (0, 8)}, r"size is \(0, 8\), expected \(height, width\)"),
        ({"size": 8}, "size is 8"),
        ({"resize_to": (8,)}, r"resize_to is \(8,\)"),
        ({"mean": (0.5, 0.5)}, "mean is"),
        ({"mean": (0.5, 0.5, float("nan"))}, "mean is"),
        ({"std": (0.5, 0.5, 0.0)}, "std is .* above 0"),
        ({"fill": (0, 0, 256)}, "fill is .* 0 to 255"),
        ({"crop": False}, "resize 'shortest' without a crop does not give pictures of this size"),
        ({"crop": False, "resize": "squash", "resize_to": (9, 9)}, "resize 'squash' without a crop"),
        ({"resize": "naflex"}, "needs patch_size and max_patches"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(CheckpointError, match=message):
        Transform(**{"size": (8, 8), **fields})


def test_all_problems_come_in_one_error():
    with pytest.raises(CheckpointError, match=r"resize is.*interpolation is.*size is"):
        Transform(size=(0, 0), resize="x", interpolation="y")


def test_patches_of_another_transform_are_refused():
    with pytest.raises(CheckpointError, match="patches are for resize 'naflex', this one is 'shortest'"):
        FIXED[0].patches(np.zeros((8, 8, 3), np.uint8))
