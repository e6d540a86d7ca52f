"""From an RGB picture to the pixels a model takes, exactly as the reference does it with Pillow.

A Transform is part of a checkpoint: the same picture resized another way gives another
embedding (a squashed SigLIP picture that is cropped instead costs points in silence), so it
is data, comes from the checkpoint, and goes into the fingerprint.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from anmok.errors import CheckpointError, did_you_mean
from anmok.pictures.read import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["Interpolation", "Resize", "Rounding", "Transform", "normalize", "normalize_patches"]

Resize = Literal["shortest", "squash", "longest", "naflex"]
Interpolation = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]
Rounding = Literal["torchvision", "transformers"]
Size = tuple[int, int]  # height, width
Span = tuple[float, float]  # from where to where along one side, pixels
Color = tuple[float, float, float]  # red, green, blue

MAX_RESIZED_PIXELS = 2**26
"""A picture of 1 x 20,000 scaled to 224 on its short side has a thousand million pixels, of
which the crop keeps the middle. Above this size only the middle is computed."""


@dataclass(frozen=True)
class Transform:
    """How a picture becomes model input. Call it: RGB picture → uint8 [h, w, 3].

    `resize`:
      "shortest": the short side to `size`, aspect ratio kept, then a center crop (CLIP);
      "squash": height and width to `size`, aspect ratio lost (SigLIP);
      "longest": the whole picture fits into `size`, padded with `fill`;
      "naflex": as large as `max_patches` patches allow, aspect ratio nearly kept (SigLIP 2
      NaFlex): the height and width vary; `patches` gives what the model takes.
    `rounding`: torchvision (open_clip) and transformers place the center crop differently
    where an odd number of pixels is left over: by up to one pixel.
    """

    size: Size  # height, width of the result, pixels; naflex: of a square picture
    resize: Resize = "shortest"
    interpolation: Interpolation = "bicubic"
    crop: bool = True  # to `size`, in the center, after the resize
    mean: Color = (0.48145466, 0.4578275, 0.40821073)  # of values 0..1
    std: Color = (0.26862954, 0.26130258, 0.27577711)
    fill: tuple[int, int, int] = (0, 0, 0)  # padding where the picture is smaller than the crop
    rounding: Rounding = "torchvision"
    resize_to: Size | None = None  # what the resize aims at, where that is not `size`
    patch_size: int = 0  # naflex: side of a patch, pixels
    max_patches: int = 0  # naflex: the sequence length

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise CheckpointError("picture transform: " + "; ".join(problems))
        for name, value in _unused(self).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_huggingface(cls, config: Mapping[str, Any]) -> Transform:
        """From the content of a `preprocessor_config.json`. See `configs.from_huggingface`."""
        from anmok.pictures.configs import from_huggingface

        return from_huggingface(config)

    @classmethod
    def from_open_clip(cls, config: Mapping[str, Any], *, image_size: int | Size | None = None) -> Transform:
        """From the `preprocess_cfg` of an `open_clip_config.json`. See `configs.from_open_clip`."""
        from anmok.pictures.configs import from_open_clip

        return from_open_clip(config, image_size=image_size)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Transform:
        """The inverse of `to_dict`. Missing fields take their defaults, unknown ones are errors."""
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise CheckpointError(f"picture transform: {name!r} is not a field.{did_you_mean(name, known)}")
        if "size" not in values:
            raise CheckpointError("picture transform: the field 'size' is missing")
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain JSON values, in a fixed order. Equal transforms, equal dicts."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def __call__(self, image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize, crop or pad `image`: what `read` returns, or anything it takes.

        Returns:
            uint8 [h, w, 3], 0..255; [h, w] is `size`, except for naflex, where both are whole
            numbers of patches.
        """
        picture = image if isinstance(image, Image.Image) and image.mode == "RGB" else read(image)
        pixels = self._resized(picture)
        if self.resize == "naflex":
            return pixels
        return _center(pixels, self.size, self.rounding, self.fill)

    def needed(self, given: Size) -> Size:
        """Height and width at which a picture of that height and width may be decoded: twice what it is resized to.

        For `read`, which shrinks a JPEG while decoding. What the resize then does is nearly the same as from the whole
        picture; how near, for a checkpoint, is measured before it is used (see `anmok.runtime.choice`).
        """
        height, width = self._resized_size(given)
        return 2 * height, 2 * width

    def window(self, given: Size) -> tuple[Span, Span]:
        """Where the result lies in a picture of that height and width.

        Returns:
            From where to where, along the rows and along the columns, in pixels of the given picture: the result is
            that part, resized. Below 0 and above the side of the picture is padding.
        """
        resized = self._resized_size(given)
        wanted = resized if self.resize == "naflex" else self.size
        rows, columns = (_span(given[axis], resized[axis], wanted[axis], self.rounding) for axis in (0, 1))
        return rows, columns

    def patches(self, image: Image.Image | NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], Size]:
        """Cut `image` into patches for a NaFlex model, row by row.

        Returns:
            patches: uint8 [m, p*p*3], m = `max_patches`, p = `patch_size`; within a patch rows,
                columns, then channels. Rows past the picture are 0.
            mask: bool [m], True where a row belongs to the picture.
            shape: (rows, columns) of patches; their product is the number of True in the mask.
        """
        if self.resize != "naflex":
            raise CheckpointError(f"picture transform: patches are for resize 'naflex', this one is {self.resize!r}")
        pixels, p = self(image), self.patch_size
        rows, columns = pixels.shape[0] // p, pixels.shape[1] // p
        cut = pixels.reshape(rows, p, columns, p, 3).transpose(0, 2, 1, 3, 4)  # [rows, columns, p, p, 3]
        patches = np.zeros((self.max_patches, p * p * 3), np.uint8)
        patches[: rows * columns] = cut.reshape(rows * columns, p * p * 3)
        return patches, np.arange(self.max_patches) < rows * columns, (rows, columns)

    def _resized(self, picture: Image.Image) -> NDArray[np.uint8]:
        """uint8 [h, w, 3] after the resize, before the crop."""
        height, width = self._resized_size((picture.height, picture.width))
        filter_ = Image.Resampling[self.interpolation.upper()]
        if self.resize == "shortest" and height * width > MAX_RESIZED_PIXELS:
            return _resized_middle(picture, (height, width), self.size, self.rounding, filter_)
        return np.array(picture.resize((width, height), filter_))

    def _resized_size(self, given: Size) -> Size:
        target = self.resize_to or self.size
        if self.resize == "squash":
            return target
        if self.resize == "naflex":
            return naflex_size(given, self.patch_size, self.max_patches)
        (height, width), (target_height, target_width) = given, target
        if self.resize == "shortest" and target_height == target_width:
            # torchvision.transforms.Resize and transformers.get_resize_output_image_size: cut, not rounded
            side = target_height
            return (int(side * height / width), side) if width <= height else (side, int(side * width / height))
        pick = max if self.resize == "longest" else min  # open_clip.transform.ResizeKeepRatio
        ratio = pick(height / target_height, width / target_width)
        return max(1, round(height / ratio)), max(1, round(width / ratio))


def normalize(pixels: NDArray[np.uint8], transform: Transform) -> NDArray[np.float32]:
    """Pixels 0..255 → (pixels / 255 - mean) / std, for PyTorch. (Graphs do this themselves.)

    Args:
        pixels: uint8 [n, h, w, 3].
        transform: whose mean and std.

    Returns:
        float32 [n, 3, h, w].
    """
    return np.ascontiguousarray(_standardized(pixels, transform).transpose(0, 3, 1, 2))


def normalize_patches(
    patches: NDArray[np.uint8], transform: Transform, mask: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """`normalize` for the patches of a NaFlex transform.

    Args:
        patches: uint8 [n, m, p*p*3].
        transform: whose mean and std.
        mask: [n, m]; where given, rows outside it become 0, as transformers pads. (A model that
            heeds the mask gives the same embedding without.)

    Returns:
        float32 [n, m, p*p*3].
    """
    n, m, values = patches.shape
    rows = _standardized(patches.reshape(n, m, values // 3, 3), transform).reshape(n, m, values)
    return rows if mask is None else np.where(np.asarray(mask, bool)[:, :, None], rows, np.float32(0))


def _standardized(pixels: NDArray[np.uint8], transform: Transform) -> NDArray[np.float32]:
    """[..., 3] → [..., 3]."""
    mean, std = np.asarray(transform.mean, np.float32), np.asarray(transform.std, np.float32)
    scaled: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    return (scaled - mean) / std


def naflex_size(given: Size, patch_size: int, max_patches: int) -> Size:
    """The largest height and width, in whole patches, that keep within `max_patches`.

    Source: get_image_size_for_max_num_patches in transformers' siglip2 image processor (a
    binary search for the scale, followed step by step so that sizes come out the same).
    """

    def scaled(scale: float) -> Size:
        height, width = (max(patch_size, math.ceil(side * scale / patch_size) * patch_size) for side in given)
        return height, width

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        scale = (low + high) / 2
        height, width = scaled(scale)
        if (height / patch_size) * (width / patch_size) <= max_patches:
            low = scale
        else:
            high = scale
    return scaled(low)


def _center(pixels: NDArray[np.uint8], size: Size, rounding: Rounding, fill: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Crop to `size` in the center, or pad up to it: [h, w, 3] → [size[0], size[1], 3]."""
    if pixels.shape[:2] == size:
        return pixels
    rows, columns = (_overlap(pixels.shape[axis], size[axis], rounding) for axis in (0, 1))
    result = np.empty((*size, 3), np.uint8)
    result[:] = fill
    result[rows[1], columns[1]] = pixels[rows[0], columns[0]]
    return result


def _overlap(length: int, wanted: int, rounding: Rounding) -> tuple[slice, slice]:
    """Along one axis: the slice that is kept, and where it goes in the result."""
    kept, start, place = min(length, wanted), 0, 0
    if length > wanted:
        start = _crop_start(length, wanted, rounding)
    elif rounding == "torchvision":
        place = (wanted - length) // 2
    else:
        place = (wanted - length + 1) // 2
    return slice(start, start + kept), slice(place, place + kept)


def _span(given: int, resized: int, wanted: int, rounding: Rounding) -> Span:
    """Along one axis of `Transform.window`."""
    kept, place = _overlap(resized, wanted, rounding)
    begin = kept.start - place.start  # one of them is 0
    scale = given / resized
    return begin * scale, (begin + wanted) * scale


def _crop_start(length: int, wanted: int, rounding: Rounding) -> int:
    """torchvision rounds half to even (1.5 → 2, 2.5 → 2), transformers cuts (1.5 → 1, 2.5 → 2)."""
    spare = length - wanted
    return round(spare / 2) if rounding == "torchvision" else spare // 2


def _resized_middle(
    picture: Image.Image, resized: Size, wanted: Size, rounding: Rounding, filter_: Image.Resampling
) -> NDArray[np.uint8]:
    """The part of a very long resize that the crop keeps: within one gray level of doing it all."""
    top, bottom, height, rows = _needed(picture.height, resized[0], wanted[0], rounding)
    left, right, width, columns = _needed(picture.width, resized[1], wanted[1], rounding)
    part = picture.crop((left, top, right, bottom))
    # Columns first, as Pillow does where it enlarges (each pass rounds to whole gray levels).
    part = part.resize((width, part.height), filter_, box=(columns[0], 0, columns[1], part.height))
    return np.array(part.resize((width, height), filter_, box=(0, rows[0], width, rows[1])))


def _needed(given: int, resized: int, wanted: int, rounding: Rounding) -> tuple[int, int, int, tuple[float, float]]:
    """Along one axis of `_resized_middle`.

    Returns:
        First and last pixel of the given picture that count, how many pixels to make of them,
        and from where to where, measured from the first that counts.
    """
    kept = min(resized, wanted)
    start = _crop_start(resized, kept, rounding)
    scale = given / resized
    begin, end = start * scale, min(float(given), (start + kept) * scale)
    reach = math.ceil(4 * max(1.0, scale))  # the widest filter (Lanczos) looks 3 pixels far
    first, last = max(0, math.floor(begin) - reach), min(given, math.ceil(end) + reach)
    return first, last, kept, (begin - first, end - first)


def _unused(transform: Transform) -> dict[str, Any]:
    """Fields that change nothing, with the value they are given instead.

    There is one way to say one thing, so that equal transforms have equal fingerprints.
    """
    unused: dict[str, Any] = {}
    squash = transform.resize == "squash" and transform.resize_to in (None, transform.size)
    if transform.resize_to == transform.size or transform.resize in ("longest", "naflex"):
        unused["resize_to"] = None
    if squash or transform.resize in ("longest", "naflex"):
        unused["crop"] = False
    if squash or transform.resize == "naflex":  # nothing is cropped or padded
        unused |= {"rounding": "torchvision", "fill": (0, 0, 0)}
    if transform.resize != "naflex":
        unused |= {"patch_size": 0, "max_patches": 0}
    return unused


def _problems(transform: Transform) -> list[str]:
    """What is wrong with the fields, all at once, each named."""
    problems = []
    for name, kinds in (("resize", Resize), ("interpolation", Interpolation), ("rounding", Rounding)):
        value, known = getattr(transform, name), get_args(kinds)
        if value not in known:
            problems.append(f"{name} is {value!r}, expected one of {', '.join(known)}")
    for name, pair in (("size", transform.size), ("resize_to", transform.resize_to or (1, 1))):
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(s, int) and s > 0 for s in pair)):
            problems.append(f"{name} is {pair!r}, expected (height, width) in pixels")
    for name, color in (("mean", transform.mean), ("std", transform.std), ("fill", transform.fill)):
        if not (isinstance(color, tuple) and len(color) == 3 and all(_finite(value) for value in color)):
            problems.append(f"{name} is {color!r}, expected three numbers")
        elif name == "std" and min(color) <= 0:
            problems.append(f"std is {color!r}, expected numbers above 0")
        elif name == "fill" and not all(isinstance(value, int) and 0 <= value <= 255 for value in color):
            problems.append(f"fill is {color!r}, expected whole numbers of 0 to 255")
    if not transform.crop and (transform.resize == "shortest" or transform.resize_to not in (None, transform.size)):
        problems.append(f"resize {transform.resize!r} without a crop does not give pictures of this size")
    if transform.resize == "naflex" and (transform.patch_size < 1 or transform.max_patches < 1):
        problems.append("resize 'naflex' needs patch_size and max_patches")
    return problems


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
