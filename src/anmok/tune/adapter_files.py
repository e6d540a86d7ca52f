"""Adapters on disk, in the layout of PEFT: `adapter_config.json` and `adapter_model.safetensors`.

Of models that transformers knows, maps have the names of its `CLIPModel` and `SiglipModel`: PEFT puts such a folder
onto the transformers model, and adapters that PEFT trained there are read here. Query, key and value are three maps
there. Of other models (CLIP's ResNet, convolutional towers) maps have anmok's names, and anmok alone reads them.

Source: PEFT 0.21 (https://github.com/huggingface/peft, Apache-2.0), its documented checkpoint format.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.checkpoints import huggingface
from anmok.checkpoints.arrays import open_arrays, read_json
from anmok.files import write_whole
from anmok.models.spec import weight_shapes
from anmok.models.weights import as_float32
from anmok.tune.adapter import PARTS, Adapter, Change, rows_of
from anmok.tune.settings import TuneError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.models.spec import DualSpec

__all__ = ["load_adapter", "names_in_transformers", "save_adapter"]

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # PEFT wraps the model twice
FINGERPRINT = "anmok_base"  # in the metadata of the safetensors file, where PEFT does not look
STARTS = (True, False, "gaussian", "eva", "orthogonal")  # ways to start that leave the model's own weights alone
REFUSED = {  # options under which an adapter is more than B A, and what they have to be
    "use_dora": (None, False), "fan_in_fan_out": (None, False), "bias": (None, "none"), "lora_bias": (None, False),
    "modules_to_save": (None, []), "rank_pattern": (None, {}), "alpha_pattern": (None, {}),
    "init_lora_weights": STARTS, "layer_replication": (None, []), "target_parameters": (None, []),
}  # fmt: skip


def save_adapter(adapter: Adapter, folder: str | Path, spec: DualSpec) -> None:
    """Write the two files of an adapter; of models that transformers has, PEFT reads them.

    Args:
        adapter: what to save.
        folder: created where it is not there.
        spec: of the model that it belongs to.

    Raises:
        TuneError: the adapter does not fit the model, or the folder cannot be written.
    """
    from safetensors.numpy import save

    theirs = names_in_transformers(spec)
    targets = [theirs.get(name, name) for name in adapter.changes]
    arrays: dict[str, NDArray[np.float32]] = {}
    for target, (name, (down, up)) in zip(targets, adapter.changes.items(), strict=True):
        weight, _ = rows_of(name, spec)
        ones = weight_shapes(spec)[weight][2:]  # of a convolution, which PEFT changes by two convolutions
        arrays[f"{PREFIX}{target}.lora_A.weight"] = np.ascontiguousarray(down.reshape(*down.shape, *ones))
        arrays[f"{PREFIX}{target}.lora_B.weight"] = np.ascontiguousarray(up.reshape(*up.shape, *ones))
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": targets,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }
    folder = Path(folder)
    try:
        write_whole(folder / WEIGHTS, save(arrays, {"format": "pt", FINGERPRINT: adapter.base}))
        write_whole(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    except OSError as error:
        raise TuneError(f"{folder} cannot be written: {error}") from error


def load_adapter(folder: str | Path, spec: DualSpec) -> Adapter:
    """Read an adapter that anmok or PEFT has saved.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        spec: of the model that it belongs to (`checkpoint.spec`).

    Raises:
        MissingFile: one of the files is not there.
        CheckpointError: one is damaged.
        TuneError: it is no LoRA adapter, has options that cannot be merged exactly, or does not fit the model.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    rank, alpha = _scaling(config, folder / CONFIG)
    ours = {theirs: name for name, theirs in names_in_transformers(spec).items()}
    halves: dict[str, dict[str, NDArray[np.float32]]] = {}
    arrays = open_arrays(folder / WEIGHTS)
    for key, array in arrays.items():
        target, kind = _parsed(key, folder / WEIGHTS)
        wide = as_float32(array)
        halves.setdefault(ours.get(target, target), {})[kind] = wide.reshape(wide.shape[:2])
    changes: dict[str, Change] = {}
    for name, pair in halves.items():
        rows_of(name, spec)
        if len(pair) < 2 or pair["A"].shape[0] != pair["B"].shape[1] or pair["A"].shape[0] != rank:
            raise TuneError(
                f"{folder / WEIGHTS}: the two halves of {name} do not belong together, or not to rank {rank}"
            )
        changes[name] = (np.array(pair["A"]), np.array(pair["B"]))
    if not changes:
        raise TuneError(f"{folder / WEIGHTS} holds no changes")
    return Adapter(changes, rank, alpha, float(config.get("lora_dropout", 0)), _fingerprint(folder / WEIGHTS))


def names_in_transformers(spec: DualSpec) -> dict[str, str]:
    """Our name of every linear map → that of transformers' model; empty where transformers has no such model."""
    if not huggingface.saves(spec):
        return {}
    sources = huggingface.sources(spec)
    names: dict[str, str] = {}
    for weight, shape in weight_shapes(spec).items():
        parts = sources[weight].parts
        if len(shape) != 2 or weight == "text.token_embedding.weight":
            continue
        if not weight.endswith(".weight") or not parts[0].endswith(".weight"):
            continue  # positions, and the fused matrix of SigLIP's pooling head, which is no module there
        own = weight.removesuffix(".weight")
        splits = [own.removesuffix("qkv") + letter for letter in PARTS] if len(parts) == len(PARTS) else [own]
        names |= {name: part.removesuffix(".weight") for name, part in zip(splits, parts, strict=True)}
    return names


def _scaling(config: dict[str, Any], file: Path) -> tuple[int, float]:
    if str(config.get("peft_type")).upper() != "LORA":
        raise TuneError(f"{file} has peft_type {config.get('peft_type')!r}; anmok reads LORA")
    given = {key: config[key] for key, good in REFUSED.items() if key in config and config[key] not in good}
    if given:
        told = ", ".join(f"{key} = {value!r}" for key, value in given.items())
        raise TuneError(f"{file}: {told} is more than low-rank changes of the same rank, which is all that anmok reads")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float):
        raise TuneError(f"{file} has r = {rank!r} and lora_alpha = {alpha!r}, expected two numbers")
    return rank, float(alpha) * (rank**0.5 if config.get("use_rslora") else 1.0)  # rank-stabilized: alpha / sqrt(r)


def _parsed(key: str, file: Path) -> tuple[str, str]:
    """The map's name in the file, and "A" or "B"."""
    for kind in "AB":
        tail = f".lora_{kind}.weight"
        if key.startswith(PREFIX) and key.endswith(tail):
            return key.removeprefix(PREFIX).removesuffix(tail), kind
    raise TuneError(f"{file}: {key} is no half of a low-rank change of a linear map or convolution")


def _fingerprint(file: Path) -> str:
    from safetensors import safe_open

    with safe_open(file, "numpy") as opened:
        return str((opened.metadata() or {}).get(FINGERPRINT, ""))
