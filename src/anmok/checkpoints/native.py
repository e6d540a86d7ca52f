"""anmok's own layout, for models that neither transformers nor open_clip has: `anmok_config.json` and our own names.

anmok_config.json   {"version": 1, "spec": …, "transform": …, "tokenizer": …}
model.safetensors   the arrays of `weight_shapes(spec)`
tokenizer files     as `Tokenizer.save` writes them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anmok.checkpoints.sources import Source, source
from anmok.errors import CheckpointError, did_you_mean
from anmok.models.configs import spec_from_dict, spec_to_dict
from anmok.models.spec import BagSpec, weight_shapes
from anmok.pictures import Transform
from anmok.texts import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.checkpoints.checkpoint import Checkpoint
    from anmok.models.spec import DualSpec, WordsSpec

__all__ = ["CONFIG", "config_of", "parts_of", "sources"]

CONFIG = "anmok_config.json"
VERSION = 1
KEYS = ("version", "spec", "transform", "tokenizer")
TOKENIZER: dict[str, type] = {"kind": str, "context_length": int, "clean": str, "trims": bool}


def config_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """What `anmok_config.json` says of a checkpoint."""
    tokenizer = checkpoint.tokenizer
    return {
        "version": VERSION,
        "spec": spec_to_dict(checkpoint.spec),
        "transform": checkpoint.transform.to_dict(),
        "tokenizer": {name: getattr(tokenizer, name) for name in TOKENIZER},
    }


def parts_of(config: dict[str, Any], file: Path) -> tuple[DualSpec, Transform, Tokenizer]:
    """Spec, transform and tokenizer of a folder, from its `anmok_config.json`.

    Raises:
        MissingFile: the folder has no tokenizer.
        CheckpointError: the layout is of another version, or keys are missing, unknown or cannot be used.
    """
    _check_version(config.get("version"), file)
    problems = [f"{key} is no key.{did_you_mean(key, KEYS)}" for key in config if key not in KEYS]
    problems += [f"{key} is missing" for key in KEYS if key not in config]
    settings = config.get("tokenizer", {})
    if not isinstance(settings, dict):
        problems.append(f"tokenizer is {settings!r:.60}, expected an object")
        settings = {}
    problems += _settings_problems(settings) if "tokenizer" in config else []
    if not isinstance(config.get("transform", {}), dict):
        problems.append(f"transform is {config['transform']!r:.60}, expected an object")
    if problems:
        raise CheckpointError(f"{file} cannot be used: {'; '.join(problems)}")
    spec = spec_from_dict(config["spec"], str(file))
    try:
        transform = Transform.from_dict(config["transform"])
    except (CheckpointError, TypeError, ValueError) as error:  # a value of another kind may fail to compare
        raise CheckpointError(f"{file} cannot be used: {error}") from error
    tokenizer = Tokenizer.from_folder(file.parent, **settings)
    _check_text(spec.text, tokenizer, file)
    return spec, transform, tokenizer


def sources(spec: DualSpec) -> dict[str, Source]:
    """Our name → itself."""
    return {name: source(name) for name in weight_shapes(spec)}


def _check_version(version: object, file: Path) -> None:
    if version == VERSION and version is not True:
        return
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise CheckpointError(
            f"{file} is of version {version} of the layout, written by a newer anmok; this one reads version "
            f"{VERSION}: pip install --upgrade anmok"
        )
    raise CheckpointError(
        f"{file} has version {version!r:.60}; this anmok reads version {VERSION}: "
        "load it with the anmok that wrote it and save it in another layout"
    )


def _check_text(text: WordsSpec, tokenizer: Tokenizer, file: Path) -> None:
    problems = []
    if tokenizer.context_length != text.context_length:
        problems.append(f"the tokenizer makes {tokenizer.context_length} tokens, the tower takes {text.context_length}")
    ends = isinstance(text, BagSpec) or text.pool == "eos"
    if ends and tokenizer.eos_token != text.eos_token:
        problems.append(f"the tokenizer ends texts with {tokenizer.eos_token}, the tower with {text.eos_token}")
    if problems:
        raise CheckpointError(f"{file} and the tokenizer beside it are of different models: {'; '.join(problems)}")


def _settings_problems(settings: dict[str, Any]) -> list[str]:
    problems = [f"tokenizer.{name} is missing" for name in TOKENIZER if name not in settings]
    for name, value in settings.items():
        if name not in TOKENIZER:
            problems.append(f"tokenizer.{name} is no key.{did_you_mean(name, TOKENIZER)}")
        elif type(value) is not TOKENIZER[name]:
            problems.append(f"tokenizer.{name} is {value!r:.60}, expected {TOKENIZER[name].__name__}")
    return problems
