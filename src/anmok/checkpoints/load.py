"""Loading: find the checkpoint by its name, find out its layout, turn it into the one form."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from anmok.checkpoints import huggingface, native, open_clip, openai
from anmok.checkpoints.arrays import open_arrays, read_json
from anmok.checkpoints.checkpoint import Checkpoint
from anmok.checkpoints.exports import open_exports, scale_and_bias
from anmok.checkpoints.hub import fetch, is_repository
from anmok.checkpoints.layouts import find_layout
from anmok.checkpoints.names import BUILT_IN, OPEN_CLIP, built_in_folder, open_clip_repository
from anmok.checkpoints.recommended import RECOMMENDED, NonCommercialLicenseWarning, is_non_commercial, license_of
from anmok.checkpoints.weights import bind
from anmok.errors import CheckpointError, MissingFile, did_you_mean
from anmok.models.spec import DualSpec, VitSpec
from anmok.pictures import Transform
from anmok.texts import Tokenizer

__all__ = ["load_checkpoint"]

KEPT = "anmok"  # a key of the config files: what the layout cannot say, written by `save_checkpoint`
PREPROCESSORS = ("preprocessor_config.json", "processor_config.json")  # transformers 4, and 5 with a processor


def load_checkpoint(name_or_folder: str | Path, *, offline: bool | None = None) -> Checkpoint:
    """Load a checkpoint of any layout. Weights stay on disk, memory-mapped, until they are used.

    Args:
        name_or_folder: a local folder or `.pt` file; "anmok-mini", which is built in; a hub
            repository "google/siglip2-base-patch16-224" (with "@revision" if wanted); or open_clip's
            naming "ViT-B-32/laion2b_s34b_b79k".
        offline: True uses only the hub's local cache; None does as HF_HUB_OFFLINE says.

    Raises:
        MissingFile: a file that belongs to the checkpoint is not there (weights, tokenizer, preprocessing).
        WeightsMismatch: weights are missing, unexpected or of another shape.
        UnsafePickle: a pickle asks for more than tensors.
        HubUnreachable: the hub cannot be asked and its cache does not have it.
        CheckpointError: anything else that is wrong with it.

    Warns:
        NonCommercialLicenseWarning: the license does not allow commercial use.
    """
    place, source = _find(name_or_folder, offline)
    checkpoint = _load(place, str(name_or_folder))
    if source is not None:
        checkpoint = replace(checkpoint, license=checkpoint.license or license_of(source))
    if is_non_commercial(checkpoint.license):
        warnings.warn(
            f"{checkpoint.name} has the license {checkpoint.license}, which does not allow commercial use",
            NonCommercialLicenseWarning,
            stacklevel=2,
        )
    return checkpoint


def _find(name: str | Path, offline: bool | None) -> tuple[Path, str | None]:
    """The local folder or file of a name, and the hub repository it came from, if it did."""
    path, text = Path(name).expanduser(), str(name)
    built_in = isinstance(name, str) and text in BUILT_IN  # a folder of that name is "./anmok-mini"
    try:
        if path.exists() and not built_in:
            return path, None
    except OSError as error:  # longer than a file name can be
        raise CheckpointError(f"{text[:80]!r} cannot be a checkpoint's name: {error.strerror}") from error
    if isinstance(name, Path) or text.startswith(("/", "./", "../", "~", ".\\")) or Path(text).is_absolute():
        raise MissingFile(f"{path} is not there: expected a folder with a checkpoint, or a .pt file")
    if built_in:
        folder = built_in_folder(text)
        if not folder.is_dir():
            raise MissingFile(f"{text} belongs to anmok but {folder} is not there: install anmok again")
        return folder, None
    known = {model.name for model in RECOMMENDED} | {model.source for model in RECOMMENDED}
    repository = open_clip_repository(text) or (text if is_repository(text) else None)
    if repository is None:
        known |= {*BUILT_IN, *OPEN_CLIP}
        raise CheckpointError(
            f"there is no checkpoint {text!r}: expected a folder, {', '.join(BUILT_IN)}, a hub name (owner/name) or "
            f"open_clip's ARCHITECTURE/TAG; `anmok models` lists recommended ones.{did_you_mean(text, known)}"
        )
    return fetch(repository, offline=offline, known=known), repository


def _load(place: Path, name: str) -> Checkpoint:
    if place.is_file():
        if place.suffix not in (".pt", ".pth", ".bin"):
            raise CheckpointError(
                f"{place} is a file; give the folder with its config and tokenizer, or a .pt of OpenAI"
            )
        return _openai(place, name)
    names = {file.relative_to(place).as_posix() for pattern in ("*", "onnx/*") for file in place.glob(pattern)}
    layout = find_layout(names, str(place))
    weights = place / layout.weights
    if layout.kind == "openai":
        return _openai(weights, name)
    readers = {"open_clip": _open_clip, "anmok": _native}
    checkpoint = readers.get(layout.kind, _huggingface)(place, weights, name)
    _check_together(checkpoint)
    return checkpoint


def _native(folder: Path, weights: Path, name: str) -> Checkpoint:
    """anmok's own layout."""
    file = folder / native.CONFIG
    spec, transform, tokenizer = native.parts_of(read_json(file), file)
    arrays = bind(spec, native.sources(spec), open_arrays(weights), ignored=lambda _: False, where=str(weights))
    return Checkpoint(name, spec, arrays, transform, tokenizer, license=_license_in(folder), folder=folder)


def _huggingface(folder: Path, weights: Path, name: str) -> Checkpoint:
    """A Hugging Face folder, with safetensors, pickles or ready ONNX exports."""
    file = folder / "config.json"
    config = read_json(file)
    if config.get("model_type") not in huggingface.MODEL_TYPES:
        raise CheckpointError(
            f"{file} has model_type {config.get('model_type')!r}; anmok loads {', '.join(huggingface.MODEL_TYPES)}"
        )
    transform = _huggingface_transform(folder)
    length = huggingface.context_length(config, file)
    tokenizer = Tokenizer.from_folder(folder, context_length=length, trims=config["model_type"] == "clip")
    spec = huggingface.spec_of(config, file, tokenizer)
    card = _license_in(folder)
    if weights.suffix == ".onnx":
        graphs = open_exports(folder)
        few = scale_and_bias(folder, spec)
        return Checkpoint(name, spec, few, transform, tokenizer, license=card, exports=graphs, folder=folder)
    arrays = bind(
        spec, huggingface.sources(spec), open_arrays(weights), ignored=huggingface.ignored, where=str(weights)
    )
    return Checkpoint(name, spec, arrays, transform, tokenizer, license=card, folder=folder)


def _huggingface_transform(folder: Path) -> Transform:
    file = next((folder / name for name in PREPROCESSORS if (folder / name).is_file()), None)
    if file is None:
        raise MissingFile(
            f"{folder} has no {PREPROCESSORS[0]}, which says how pictures are prepared: weights without it are "
            "of no use. It is among the files of the checkpoint on the hub"
        )
    config = read_json(file)
    try:
        kept = config.get(KEPT)
        if isinstance(kept, dict) and isinstance(kept.get("transform"), dict):
            return Transform.from_dict(kept["transform"])
        return Transform.from_huggingface(config)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error


def _open_clip(folder: Path, weights: Path, name: str) -> Checkpoint:
    file = folder / "open_clip_config.json"
    config = read_json(file)
    model, preprocess = config.get("model_cfg"), config.get("preprocess_cfg")
    if not isinstance(model, dict):
        raise CheckpointError(f"{file} has no model_cfg, which says what the model is")
    if not isinstance(preprocess, dict):
        raise MissingFile(f"{file} has no preprocess_cfg, which says how pictures are prepared")
    kept = config[KEPT] if isinstance(config.get(KEPT), dict) else {}
    tokenizer = _open_clip_tokenizer(folder, model, file, kept.get("clean"))
    spec = open_clip.spec_of(model, file, tokenizer)
    try:
        transform = (
            Transform.from_dict(kept["transform"])
            if isinstance(kept.get("transform"), dict)
            else Transform.from_open_clip(preprocess, image_size=spec.image.image_size)
        )
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    arrays = open_arrays(weights)
    if arrays and all(key.startswith("module.") for key in arrays):  # saved from inside DistributedDataParallel
        arrays = arrays.renamed(lambda key: key.removeprefix("module."))
    sources = open_clip.sources(spec, arrays.shapes)
    bound = bind(spec, sources, arrays, ignored=open_clip.ignored, where=str(weights))
    return Checkpoint(name, spec, bound, transform, tokenizer, license=_license_in(folder), folder=folder)


def _open_clip_tokenizer(folder: Path, model: dict[str, Any], file: Path, kept_clean: str | None) -> Tokenizer:
    """open_clip's own CLIP tokenizer, or the folder's where the config names one of Hugging Face."""
    length, named, options = open_clip.text_section(model, file)
    clean = options.pop("clean", None)
    if not named:
        if options or clean not in (None, "lower"):
            raise CheckpointError(f"{file}: text_cfg.tokenizer_kwargs {options or clean!r} is not supported yet")
        return Tokenizer.clip(length)
    if options:
        raise CheckpointError(f"{file}: text_cfg.tokenizer_kwargs {', '.join(options)} is not supported yet")
    trims = open_clip.trims(model)
    return Tokenizer.from_folder(folder, context_length=length, clean=kept_clean or clean or "whitespace", trims=trims)


def _openai(file: Path, name: str) -> Checkpoint:
    """OpenAI's state dict. Transform and tokenizer are part of the layout."""
    arrays = open_arrays(file)
    if not openai.is_openai(arrays.shapes):
        raise CheckpointError(
            f"{file} is not OpenAI's state dict (no visual.proj or visual.attnpool beside text_projection). "
            "Other weights need their config: give the folder that holds both"
        )
    spec = openai.spec_of(arrays.shapes, file)
    weights = bind(spec, open_clip.sources(spec, arrays.shapes), arrays, ignored=open_clip.ignored, where=str(file))
    side = spec.image.image_size
    transform = Transform(size=(side, side), resize="shortest", crop=True, mean=openai.MEAN, std=openai.STD)
    tokenizer = Tokenizer.clip(spec.text.context_length)
    checkpoint = Checkpoint(name, spec, weights, transform, tokenizer, license=_license_in(file.parent), folder=None)
    _check_together(checkpoint)
    return checkpoint


def _check_together(checkpoint: Checkpoint) -> None:
    """Do the parts belong to each other? A transform of another size, or a larger vocabulary, would fail late.

    Raises:
        CheckpointError: they do not.
    """
    spec, transform, tokenizer = checkpoint.spec, checkpoint.transform, checkpoint.tokenizer
    problems = _transform_problems(spec, transform)
    if tokenizer.vocabulary > spec.text.vocabulary:
        problems.append(f"the tokenizer has {tokenizer.vocabulary} ids, the text tower {spec.text.vocabulary}")
    if problems:
        raise CheckpointError(f"{checkpoint.name}: its files are of different models: {'; '.join(problems)}")


def _transform_problems(spec: DualSpec, transform: Transform) -> list[str]:
    image = spec.image
    naflex = isinstance(image, VitSpec) and image.naflex
    if naflex != (transform.resize == "naflex"):
        return [f"preprocessing resizes by {transform.resize!r}, the image tower {'is' if naflex else 'is not'} NaFlex"]
    if isinstance(image, VitSpec) and naflex:
        same = transform.patch_size == image.patch_size
        return (
            [] if same else [f"preprocessing cuts patches of {transform.patch_size}, the tower of {image.patch_size}"]
        )
    if transform.size != (image.image_size, image.image_size):
        return [f"preprocessing gives pictures of {transform.size}, the image tower takes {image.image_size}"]
    return []


def _license_in(folder: Path) -> str | None:
    """The license that the model card's front matter names."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:20_000]
    except OSError:
        return None
    matter = re.match(r"\ufeff?---\s*\n(.*?)\n---", text, re.DOTALL)
    fields = dict(re.findall(r"^(license|license_name):[ \t]*([^\s#]+)", matter[1], re.MULTILINE)) if matter else {}
    given = fields.get("license", "").strip("'\"")
    return (fields.get("license_name", "").strip("'\"") if given == "other" else "") or given or None
