"""Saving: the one form → a folder that transformers loads, or open_clip, or else anmok alone.

The folder appears whole or not at all: it is written beside its place and then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anmok.checkpoints import huggingface, native, open_clip
from anmok.errors import CheckpointError, WeightsMismatch, did_you_mean
from anmok.models.spec import weight_shapes
from anmok.pictures import Transform
from anmok.texts import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from anmok.checkpoints.checkpoint import Checkpoint
    from anmok.checkpoints.sources import Source

__all__ = ["save_checkpoint"]

CODES = {"float64": "F64", "float32": "F32", "float16": "F16"}
PRECISIONS: dict[str, type[np.floating[Any]]] = {"fp32": np.float32, "fp16": np.float16}
PILLOW = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # the codes of `resample`, in order


def save_checkpoint(
    checkpoint: Checkpoint,
    folder: str | Path,
    *,
    precision: Literal["keep", "fp32", "fp16"] = "keep",
    layout: Literal["auto", "huggingface", "open_clip", "anmok"] = "auto",
) -> None:
    """Save a checkpoint as a folder, replacing an earlier one there.

    What a layout has no word for (open_clip's rounding of crops, a tokenizer's cleaning) is kept
    under a key "anmok", which others ignore; loading the folder gives the same fingerprint.

    Args:
        checkpoint: spec, weights, transform and tokenizer.
        folder: where; created, or replaced where it holds a checkpoint already.
        precision: "keep" saves the weights as they are, "fp32" and "fp16" convert.
        layout: "auto" is Hugging Face where transformers has such a model, else open_clip where that has, else
            anmok's own, which takes every model.

    Raises:
        CheckpointError: the layout cannot say this spec, the checkpoint holds ready ONNX exports, or the folder cannot
            be written.
        WeightsMismatch: the weights do not fit the spec.
    """
    target = Path(folder)
    if checkpoint.exports is not None:
        raise CheckpointError(f"{checkpoint.name} holds ready ONNX exports: copy its folder instead of saving it")
    if target.exists() and not _replaceable(target):
        raise CheckpointError(f"{target} is there and holds other things than a checkpoint: choose another folder")
    chosen = _choose(checkpoint, layout)
    _check_weights(checkpoint)
    try:
        with _beside(target) as partial:
            writers = {"huggingface": _write_huggingface, "open_clip": _write_open_clip, "anmok": _write_native}
            writers[chosen](checkpoint, partial, PRECISIONS.get(precision))
    except OSError as error:
        raise CheckpointError(f"{target} cannot be written: {error}") from error


def _choose(checkpoint: Checkpoint, layout: str) -> str:
    transform, spec = checkpoint.transform, checkpoint.spec
    able = {
        "huggingface": huggingface.saves(spec) and transform.resize != "longest",
        "open_clip": open_clip.saves(spec) and transform.resize_to is None,
        "anmok": True,
    }
    for name in able if layout == "auto" else (layout,):
        if able.get(name):
            return name
    raise CheckpointError(
        f"{checkpoint.name} cannot be saved ({layout}): Hugging Face takes CLIP and SigLIP with vision transformers, "
        "open_clip takes CLIP with a vision transformer or its ResNet, layout='anmok' takes every model."
        f"{did_you_mean(layout, able)}"
    )


def _check_weights(checkpoint: Checkpoint) -> None:
    for name, shape in weight_shapes(checkpoint.spec).items():
        if name not in checkpoint.weights:
            raise WeightsMismatch(f"{checkpoint.name} cannot be saved: its weights lack {name}")
        given = np.shape(checkpoint.weights[name])
        if given != shape:
            raise WeightsMismatch(f"{checkpoint.name} cannot be saved: {name} is {list(given)}, expected {list(shape)}")


def _write_huggingface(checkpoint: Checkpoint, folder: Path, dtype: type[np.floating[Any]] | None) -> None:
    transform = checkpoint.transform
    _write_json(folder / "config.json", huggingface.config_of(checkpoint.spec))
    preprocessor = _preprocessor_config(transform)
    if Transform.from_huggingface(preprocessor) != transform:
        preprocessor["anmok"] = {"transform": transform.to_dict()}
    _write_json(folder / "preprocessor_config.json", preprocessor)
    checkpoint.tokenizer.save(folder)
    _write_safetensors(folder / "model.safetensors", checkpoint, huggingface.sources(checkpoint.spec), dtype)


def _write_open_clip(checkpoint: Checkpoint, folder: Path, dtype: type[np.floating[Any]] | None) -> None:
    spec, transform, tokenizer = checkpoint.spec, checkpoint.transform, checkpoint.tokenizer
    model = open_clip.config_of(spec)
    kept: dict[str, Any] = {}
    if tokenizer.digest() != Tokenizer.clip(tokenizer.context_length).digest():  # not open_clip's own
        model["text_cfg"]["hf_tokenizer_name"] = Path(checkpoint.name).name
        if tokenizer.clean in ("canonicalize", "lower", "whitespace"):
            model["text_cfg"]["tokenizer_kwargs"] = {"clean": tokenizer.clean}
        else:
            kept["clean"] = tokenizer.clean
    preprocess = {
        "size": list(transform.size),
        "mode": "RGB",
        "mean": list(transform.mean),
        "std": list(transform.std),
        "interpolation": transform.interpolation,
        "resize_mode": transform.resize,
        "fill_color": transform.fill[0],
    }
    if Transform.from_open_clip(preprocess, image_size=spec.image.image_size) != transform:
        kept["transform"] = transform.to_dict()
    config = {"model_cfg": model, "preprocess_cfg": preprocess, **({"anmok": kept} if kept else {})}
    _write_json(folder / "open_clip_config.json", config)
    tokenizer.save(folder)
    names = {"text.token_embedding.weight"}  # saved as CustomTextCLIP, which has the text tower under `text.`
    _write_safetensors(folder / "open_clip_model.safetensors", checkpoint, open_clip.sources(spec, names), dtype)


def _write_native(checkpoint: Checkpoint, folder: Path, dtype: type[np.floating[Any]] | None) -> None:
    _write_json(folder / native.CONFIG, native.config_of(checkpoint))
    checkpoint.tokenizer.save(folder)
    _write_safetensors(folder / "model.safetensors", checkpoint, native.sources(checkpoint.spec), dtype)


def _preprocessor_config(transform: Transform) -> dict[str, Any]:
    height, width = transform.size
    shared = {
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": PILLOW.index(transform.interpolation),
        "image_mean": list(transform.mean),
        "image_std": list(transform.std),
    }
    if transform.resize == "naflex":
        sizes = {"patch_size": transform.patch_size, "max_num_patches": transform.max_patches}
        return {"image_processor_type": "Siglip2ImageProcessor", **sizes, **shared}
    if not transform.crop:
        return {"image_processor_type": "SiglipImageProcessor", "size": {"height": height, "width": width}, **shared}
    aim = transform.resize_to or transform.size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": min(aim)}
        if transform.resize == "shortest"
        else dict(zip(("height", "width"), aim, strict=False)),
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        **shared,
    }


def _write_safetensors(
    file: Path, checkpoint: Checkpoint, sources: Mapping[str, Source], dtype: type[np.floating[Any]] | None
) -> None:
    """Write array by array, so that memory holds one at a time."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    offset = 0
    for name, part, array in _parts(checkpoint, sources, dtype):
        if array.dtype.name not in CODES:
            raise WeightsMismatch(f"{checkpoint.name} cannot be saved: {name} holds {array.dtype}")
        header[part] = {
            "dtype": CODES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of 8, as the format recommends
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for _, _, array in _parts(checkpoint, sources, dtype):
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            stream.write(little.reshape(-1).view(np.uint8).data)
        stream.flush()
        os.fsync(stream.fileno())


def _parts(
    checkpoint: Checkpoint, sources: Mapping[str, Source], dtype: type[np.floating[Any]] | None
) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Our name, the layout's name and the array of everything that the layout stores."""
    for name in weight_shapes(checkpoint.spec):
        array = np.asarray(checkpoint.weights[name])
        array = array if dtype is None else array.astype(dtype, copy=False)
        for part, piece in zip(sources[name].parts, sources[name].split(array), strict=True):
            yield name, part, piece


def _write_json(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _replaceable(folder: Path) -> bool:
    """Whether a folder may be replaced: it is empty, or holds a checkpoint."""
    if not folder.is_dir():
        return False
    names = {file.name for file in folder.iterdir()}
    return not names or bool(names & {"config.json", "open_clip_config.json", native.CONFIG})


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends well, and goes when it does not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield partial
        partial.chmod(0o755)  # mkdtemp makes it private
        old = partial.with_name(f"{partial.name}.old")
        if target.exists():
            target.rename(old)
        try:
            partial.rename(target)
        except OSError:
            with suppress(OSError):
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
