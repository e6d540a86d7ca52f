"""Preprocessing files as found on the hub, and those that are refused. Their pixels: test_parity."""

import pytest

from anmok.errors import CheckpointError
from anmok.pictures import Transform

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CLIP = {"image_processor_type": "CLIPImageProcessor"}
SIGLIP = {"image_processor_type": "SiglipImageProcessor"}


def test_openai_clip_of_2021():
    config = {"crop_size": 224, "do_center_crop": True, "do_normalize": True, "do_resize": True}
    config |= {"feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN, "image_std": STD}
    config |= {"resample": 3, "size": 224}
    transform = Transform.from_huggingface(config)
    assert transform == Transform(size=(224, 224), resize="shortest", interpolation="bicubic", rounding="transformers")


def test_clip_with_dicts_inside_a_processor_config():
    inner = {"crop_size": {"height": 336, "width": 336}, "size": {"shortest_edge": 336}, "do_convert_rgb": True}
    inner |= {"image_processor_type": "CLIPImageProcessorFast", "rescale_factor": 0.00392156862745098}
    transform = Transform.from_huggingface({"processor_class": "CLIPProcessor", "image_processor": inner})
    assert transform == Transform(size=(336, 336), rounding="transformers")


def test_siglip_and_siglip2():
    half = (0.5, 0.5, 0.5)
    config = {**SIGLIP, "size": {"height": 256, "width": 256}, "resample": 2, "do_convert_rgb": None}
    expected = Transform(
        size=(256, 256), resize="squash", interpolation="bilinear", mean=half, std=half, rounding="transformers"
    )
    assert Transform.from_huggingface(config) == expected
    naflex = Transform.from_huggingface({"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256})
    assert (naflex.resize, naflex.size, naflex.patch_size, naflex.max_patches) == ("naflex", (256, 256), 16, 256)
    assert (naflex.interpolation, naflex.mean, naflex.std) == ("bilinear", half, half)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "'image_processor_type' is missing"),
        ({"image_processor_type": "ViTImageProcessor"}, "image_processor_type 'ViTImageProcessor' is not supported"),
        ({"image_processor_type": "ClipImageProcessor"}, r"Did you mean .*'CLIPImageProcessor'"),
        ({**CLIP, "do_resize": False}, "do_resize is False.*expected true"),
        ({**CLIP, "do_pad": True}, "do_pad is True.*expected false"),
        ({**CLIP, "do_center_crop": False}, "do_center_crop is false.*different sizes"),
        ({**CLIP, "size": {"shortest_edge": 224, "longest_edge": 448}}, "size is .*longest_edge"),
        ({**CLIP, "size": {"longest_edge": 224}}, "size is .*longest_edge"),
        ({**CLIP, "size": [1, 2, 3]}, r"size is \[1, 2, 3\]"),
        ({**CLIP, "size": "224"}, "size is '224'"),
        ({**CLIP, "size": 224.0}, "size is 224.0"),
        ({**CLIP, "crop_size": {"shortest_edge": 224}}, "crop_size is"),
        ({**CLIP, "crop_size": 0}, r"size is \(0, 0\)"),
        ({**CLIP, "resample": 17}, "resample is 17"),
        ({**CLIP, "resample": "cubic"}, "resample is 'cubic'"),
        ({**CLIP, "image_mean": [0.5]}, r"image_mean is \[0.5\]"),
        ({**CLIP, "image_std": [0.5, 0.5, 0]}, "std is .* above 0"),
        ({**CLIP, "rescale_factor": 0}, "rescale_factor is 0"),
        ({**CLIP, "rescale_factor": "1/255"}, "rescale_factor is '1/255'"),
        ({**SIGLIP, "size": 224}, "do_center_crop is false.*different sizes"),
        ({"image_processor_type": "Siglip2ImageProcessor", "patch_size": "16"}, "patch_size is '16'"),
        ({"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 0}, "max_num_patches is 0"),
        ({"image_processor_type": "Siglip2ImageProcessor", "do_resize": False}, "do_resize is False"),
    ],
)
def test_huggingface_field_that_is_not_supported_is_named(config, field):
    with pytest.raises(CheckpointError, match=field):
        Transform.from_huggingface(config)


def test_open_clip_defaults_and_the_models_size():
    assert Transform.from_open_clip({"mean": MEAN, "std": STD}) == Transform(size=(224, 224))
    assert Transform.from_open_clip({"size": 224}, image_size=336).size == (336, 336)
    assert Transform.from_open_clip({"mean": None, "std": None}, image_size=(32, 48)).size == (32, 48)


def test_open_clip_siglip():
    config = {"size": [256, 256], "mode": "RGB", "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    config |= {"resize_mode": "squash", "fill_color": 0}
    half = (0.5, 0.5, 0.5)
    assert Transform.from_open_clip(config) == Transform(size=(256, 256), resize="squash", mean=half, std=half)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"mode": "L"}, "mode is 'L'"),
        ({"resize_mode": "fit"}, "resize_mode is 'fit'"),
        ({"size": "224"}, "size is '224'"),
        ({"interpolation": "cubic"}, "interpolation is 'cubic'"),
        ({"mean": [1, 2]}, r"mean is \[1, 2\]"),
        ({"resize_mode": "longest", "fill_color": 300}, "fill is"),
        ({"resize_mode": "longest", "fill_color": "white"}, "fill_color is 'white'"),
    ],
)
def test_open_clip_field_that_is_not_supported_is_named(config, field):
    with pytest.raises(CheckpointError, match=field):
        Transform.from_open_clip(config)
