"""The model that training starts from: a checkpoint, or a size with random weights and a tokenizer for the captions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from anmok.checkpoints import Checkpoint, load_checkpoint
from anmok.errors import did_you_mean
from anmok.models.modules import DualEncoder, from_weights
from anmok.models.resize import resize_image
from anmok.models.sizes import SIZES
from anmok.pictures import Transform
from anmok.texts import Tokenizer
from anmok.train.data import Data, texts_of
from anmok.train.recipe import RecipeError
from anmok.train.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from anmok.models.spec import DualSpec
    from anmok.pictures.transform import Resize
    from anmok.train.recipe import ModelConfig, Recipe

__all__ = ["module_of", "new_model"]

SMALL = tuple(name for name in SIZES if name.startswith("tiny"))


def new_model(recipe: Recipe, data: Data, folder: Path) -> Checkpoint:
    """The model that training starts from, as a checkpoint: loaded, or of a size with random weights.

    Args:
        recipe: what to train.
        data: whose texts a new tokenizer is trained on.
        folder: where that tokenizer is kept, so that a run that goes on has the same.

    Raises:
        RecipeError: no model or an unknown one is named.
        CheckpointError: the checkpoint cannot be loaded.
    """
    config, kind = recipe.model, recipe.loss.kind
    if config.start:
        return _from_checkpoint(load_checkpoint(config.start), config, kind)
    if config.size not in SIZES:
        raise RecipeError(
            f"model.size is {config.size!r}: name a size ({', '.join(SMALL)} or one of the papers') "
            f"or give a checkpoint as model.start.{did_you_mean(config.size, SIZES)}"
        )
    spec = SIZES[config.size]
    tokenizer = _tokenizer(config, spec, data, folder, recipe.data.templates)
    text = replace(
        spec.text, vocabulary=tokenizer.vocabulary, eos_token=tokenizer.eos_token, pad_token=tokenizer.pad_token
    )
    image = replace(spec.image, image_size=config.image_size or spec.image.image_size)
    score = _score(kind, spec)
    spec = replace(spec, image=image, text=text, dimension=config.dimension or spec.dimension, score=score)
    side = spec.image.image_size
    resize: Resize = "squash" if config.resize == "squash" else "shortest"
    transform = Transform(size=(side, side), resize=resize, crop=resize == "shortest")
    torch.manual_seed(recipe.run.seed)
    weights = {name: value.numpy() for name, value in DualEncoder(spec).state_dict().items()}
    return Checkpoint(Path(recipe.run.output).name, spec, weights, transform, tokenizer)


def _score(kind: str, spec: DualSpec) -> Literal["softmax", "sigmoid"]:
    if kind == "auto":
        return spec.score
    return "sigmoid" if kind == "sigmoid" else "softmax"


def _from_checkpoint(checkpoint: Checkpoint, config: ModelConfig, kind: str) -> Checkpoint:
    spec, weights = checkpoint.spec, dict(checkpoint.weights)
    side = config.image_size or spec.image.image_size
    transform = checkpoint.transform
    if side != spec.image.image_size:
        spec, weights = resize_image(weights, spec, side)
        transform = replace(transform, size=(side, side), resize_to=None)
    if _score(kind, spec) != spec.score:
        spec = replace(spec, score=_score(kind, spec))
        weights.pop("logit_bias", None)
        if spec.logit_bias:
            weights["logit_bias"] = np.array(-10.0, np.float32)
    return replace(checkpoint, spec=spec, weights=weights, transform=transform, exports=None)


def _tokenizer(config: ModelConfig, spec: DualSpec, data: Data, folder: Path, templates: str) -> Tokenizer:
    length = spec.text.context_length
    if config.tokenizer == "clip":
        return Tokenizer.clip(length)
    if config.tokenizer != "train":
        return Tokenizer.from_folder(config.tokenizer, context_length=length)
    folder.mkdir(parents=True, exist_ok=True)
    train_tokenizer(texts_of(data, templates), folder, vocabulary=config.vocabulary, context_length=length)
    return Tokenizer.from_folder(folder, context_length=length, clean="whitespace", trims=True)


def module_of(checkpoint: Checkpoint, device: torch.device) -> DualEncoder:
    """The checkpoint as a PyTorch module on a device; kernels lie channels last, which convolutions run faster on."""
    model = from_weights(checkpoint.spec, checkpoint.weights).to(device)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
