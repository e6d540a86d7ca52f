"""The preprocessing files of Hugging Face and open_clip → a Transform.

A field that would change the pixels and that a Transform cannot express is an error naming
the field: a checkpoint with other preprocessing than its own gives wrong embeddings in silence.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from anmok.errors import CheckpointError, did_you_mean
from anmok.pictures.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anmok.pictures.transform import Color, Interpolation, Size

__all__ = ["from_huggingface", "from_open_clip"]

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""In the order of Pillow's codes, which Hugging Face files hold as `resample`."""

# What each image processor of transformers assumes where its file is silent.
CLIP_DEFAULTS: dict[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": 224,
    "do_center_crop": True,
    "resample": 3,
    "image_mean": OPENAI_MEAN,
    "image_std": OPENAI_STD,
}
SIGLIP_DEFAULTS: dict[str, Any] = {
    "size": {"height": 224, "width": 224},
    "do_center_crop": False,
    "resample": 3,
    "image_mean": HALF,
    "image_std": HALF,
}
SIGLIP2_DEFAULTS: dict[str, Any] = {
    "patch_size": 16,
    "max_num_patches": 256,
    "resample": 2,
    "image_mean": HALF,
    "image_std": HALF,
}
PROCESSORS = {
    "CLIPImageProcessor": CLIP_DEFAULTS,
    "CLIPFeatureExtractor": CLIP_DEFAULTS,
    "ChineseCLIPImageProcessor": CLIP_DEFAULTS,
    "ChineseCLIPFeatureExtractor": CLIP_DEFAULTS,
    "SiglipImageProcessor": SIGLIP_DEFAULTS,
    "Siglip2ImageProcessor": SIGLIP2_DEFAULTS,
}


def from_huggingface(config: Mapping[str, Any]) -> Transform:
    """From the content of a `preprocessor_config.json` (or `processor_config.json`).

    Pixels are those of the processor's Pillow path, also where the file names a "Fast" one:
    the Pillow path is what the public checkpoints were converted and checked with.

    Raises:
        CheckpointError: a field has a value that is not supported; the message names it.
    """
    config = config.get("image_processor", config)
    kind = _processor(config)
    fields = PROCESSORS[kind] | {name: value for name, value in config.items() if value is not None}
    for name, needed in (("do_resize", True), ("do_pad", False)):
        if bool(fields.get(name, needed)) != needed:
            raise _unsupported(name, fields[name], str(needed).lower())
    mean, std = _mean_and_std(fields)
    shared: dict[str, Any] = {"interpolation": _interpolation("resample", fields["resample"]), "mean": mean, "std": std}
    if PROCESSORS[kind] is SIGLIP2_DEFAULTS:
        patch_size, max_patches = _count("patch_size", fields), _count("max_num_patches", fields)
        side = math.isqrt(max_patches) * patch_size
        return Transform(
            size=(side, side), resize="naflex", crop=False, patch_size=patch_size, max_patches=max_patches, **shared
        )
    shortest, target = _huggingface_size(fields["size"])
    if not fields["do_center_crop"]:
        if shortest:
            reason = "without a center crop a 'shortest_edge' gives pictures of different sizes; expected true"
            raise CheckpointError(f"preprocessing: do_center_crop is false: {reason}")
        return Transform(size=target, resize="squash", crop=False, rounding="transformers", **shared)
    return Transform(
        size=_height_width("crop_size", fields.get("crop_size", target)),
        resize="shortest" if shortest else "squash",
        resize_to=target,
        rounding="transformers",
        **shared,
    )


def from_open_clip(config: Mapping[str, Any], *, image_size: int | Size | None = None) -> Transform:
    """From the `preprocess_cfg` of an `open_clip_config.json`.

    Args:
        config: fields `size`, `mode`, `mean`, `std`, `interpolation`, `resize_mode`, `fill_color`;
            missing or null ones take open_clip's defaults.
        image_size: the model's own `vision_cfg.image_size`. Like open_clip, it wins over `size`.

    Raises:
        CheckpointError: a field has a value that is not supported; the message names it.
    """
    fields = {name: value for name, value in config.items() if value is not None}
    if image_size is not None:
        fields["size"] = image_size
    if fields.get("mode", "RGB") != "RGB":
        raise _unsupported("mode", fields["mode"], "'RGB'")
    mode = fields.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash", "longest"):
        raise _unsupported("resize_mode", mode, "'shortest', 'squash' or 'longest'")
    size = _height_width("size", fields.get("size", 224))
    interpolation = _interpolation("interpolation", fields.get("interpolation", "bicubic"))
    if mode == "shortest" and size[0] != size[1]:
        interpolation = "bicubic"  # open_clip does not pass the choice on here (ResizeKeepRatio's default)
    fill = fields.get("fill_color", 0) if mode == "longest" else 0  # nowhere else is there anything to fill
    return Transform(
        size=size,
        resize=mode,
        interpolation=interpolation,
        crop=mode == "shortest",
        mean=_color("mean", fields.get("mean", OPENAI_MEAN)),
        std=_color("std", fields.get("std", OPENAI_STD)),
        fill=_fill(fill),
    )


def _processor(config: Mapping[str, Any]) -> str:
    given = config.get("image_processor_type") or config.get("feature_extractor_type")
    if not isinstance(given, str):
        raise CheckpointError("preprocessing: the field 'image_processor_type' is missing")
    kind = given.removesuffix("Fast").removesuffix("Pil")
    if kind not in PROCESSORS:
        known = ", ".join(PROCESSORS)
        hint = did_you_mean(kind, PROCESSORS)
        raise CheckpointError(f"preprocessing: image_processor_type {given!r} is not supported, only {known}.{hint}")
    return kind


def _huggingface_size(size: object) -> tuple[bool, Size]:
    """Whether `size` is the shortest edge, and what it asks for. A bare number is the shortest edge."""
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        size = size["shortest_edge"]
    if isinstance(size, int):
        return True, _height_width("size", size)
    return False, _height_width("size", size)


def _height_width(name: str, value: object) -> Size:
    """A side, a [height, width] list or a {"height", "width"} dict → (height, width)."""
    if isinstance(value, int):
        value = (value, value)
    elif isinstance(value, dict) and set(value) == {"height", "width"}:
        value = (value["height"], value["width"])
    elif isinstance(value, list | tuple) and len(value) == 1:
        value = (*value, *value)
    if isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return value[0], value[1]
    raise _unsupported(name, value, "a side, [height, width] or {'height', 'width'}, in pixels")


def _mean_and_std(fields: Mapping[str, Any]) -> tuple[Color, Color]:
    """Mean and std for values of 0..1.

    transformers computes (value * rescale_factor - mean) / std; dividing both by
    255 * rescale_factor says the same for value / 255.
    """
    if fields.get("do_normalize", True):
        mean, std = _color("image_mean", fields["image_mean"]), _color("image_std", fields["image_std"])
    else:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    factor = fields.get("rescale_factor", 1 / 255) if fields.get("do_rescale", True) else 1.0
    if not isinstance(factor, int | float) or not factor > 0:
        raise _unsupported("rescale_factor", factor, "a number above 0")
    if math.isclose(factor, 1 / 255, rel_tol=1e-6):
        return mean, std
    unit = 255 * factor
    return (mean[0] / unit, mean[1] / unit, mean[2] / unit), (std[0] / unit, std[1] / unit, std[2] / unit)


def _color(name: str, value: object) -> Color:
    """One number or three → three."""
    values = [value] * 3 if isinstance(value, int | float) else value
    if isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(v, int | float) for v in values):
        return float(values[0]), float(values[1]), float(values[2])
    raise _unsupported(name, value, "one number or three")


def _fill(value: object) -> tuple[int, int, int]:
    """One gray level or a color → a color."""
    values = [value] * 3 if isinstance(value, int) else value
    if isinstance(values, list | tuple) and len(values) == 3 and all(isinstance(v, int) for v in values):
        return values[0], values[1], values[2]
    raise _unsupported("fill_color", value, "one whole number or three, 0 to 255")


def _interpolation(name: str, value: object) -> Interpolation:
    """A Pillow code (Hugging Face) or a name (open_clip, whose "random" is bicubic outside training)."""
    if isinstance(value, int) and 0 <= value < len(INTERPOLATIONS):
        return INTERPOLATIONS[value]
    for interpolation in INTERPOLATIONS:
        if value == interpolation:
            return interpolation
    if value == "random":
        return "bicubic"
    raise _unsupported(name, value, f"a code of 0 to 5 or one of {', '.join(INTERPOLATIONS)}")


def _count(name: str, fields: Mapping[str, Any]) -> int:
    value = fields[name]
    if not isinstance(value, int) or value < 1:
        raise _unsupported(name, value, "a whole number above 0")
    return value


def _unsupported(name: str, value: object, expected: str) -> CheckpointError:
    return CheckpointError(f"preprocessing: {name} is {value!r}, which is not supported; expected {expected}")
