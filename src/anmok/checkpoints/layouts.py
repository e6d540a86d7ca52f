"""Which layout a folder or a hub repository has, by the names of its files alone.

| layout        | config                   | weights, the first that is there                                     |
| ------------- | ------------------------ | -------------------------------------------------------------------- |
| open_clip     | `open_clip_config.json`  | `open_clip_model.safetensors`, `open_clip_pytorch_model.bin`          |
| huggingface   | `config.json`            | `model.safetensors` or its index, `pytorch_model.bin` or its index    |
| exports       | `config.json`            | `onnx/vision_model.onnx` and `onnx/text_model.onnx`                   |
| anmok         | `anmok_config.json`      | `model.safetensors`                                                  |
| openai        | none                     | one `.pt` file                                                       |

Where a repository holds several, the first row that fits wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from anmok.errors import CheckpointError, MissingFile

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["EXPORTS", "Layout", "files_of", "find_layout"]

Kind = Literal["open_clip", "huggingface", "exports", "anmok", "openai"]
CONFIGS: dict[Kind, str] = {
    "open_clip": "open_clip_config.json",
    "huggingface": "config.json",
    "exports": "config.json",
    "anmok": "anmok_config.json",
}
WEIGHTS: dict[Kind, tuple[str, ...]] = {
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    "huggingface": (
        "model.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ),
    "anmok": ("model.safetensors",),
}
EXPORTS = ("onnx/vision_model.onnx", "onnx/text_model.onnx")
COMBINED_EXPORT = "onnx/model.onnx"  # holds the logit scale, which the two towers lack
SMALL = (".json", ".txt", ".model")  # configs and tokenizers
CARDS = ("README.md", "LICENSE")


@dataclass(frozen=True)
class Layout:
    """What was found. `weights` is relative to the folder: one file, an index of shards, or the image export."""

    kind: Kind
    weights: str


def find_layout(names: Collection[str], where: str) -> Layout:
    """The layout of a set of files.

    Args:
        names: paths relative to the folder, with forward slashes.
        where: folder or repository, for the message.

    Raises:
        MissingFile: a config without weights; names what was looked for.
        CheckpointError: this is no checkpoint; says what was looked for and what is there.
    """
    for kind in ("open_clip", "huggingface"):
        weights = next((name for name in WEIGHTS[kind] if name in names), None)
        if CONFIGS[kind] in names and weights:
            return Layout(kind, weights)
    if "config.json" in names and all(name in names for name in EXPORTS):
        return Layout("exports", EXPORTS[0])
    if CONFIGS["anmok"] in names and WEIGHTS["anmok"][0] in names:
        return Layout("anmok", WEIGHTS["anmok"][0])
    pickles = sorted(name for name in names if name.endswith(".pt") and "/" not in name)
    if len(pickles) == 1:
        return Layout("openai", pickles[0])
    raise _no_layout(names, where, pickles)


def files_of(layout: Layout, names: Collection[str]) -> list[str]:
    """The files of a repository that loading this layout needs, and no others."""
    small = [name for name in names if "/" not in name and name.endswith(SMALL)]
    cards = [name for name in CARDS if name in names]
    if layout.kind == "exports":
        parts = [*EXPORTS, COMBINED_EXPORT]
        weights = [name for part in parts for name in (part, f"{part}_data") if name in names]
    elif layout.weights.endswith(".index.json"):
        stem, ending = layout.weights.removesuffix(".index.json").rsplit(".", 1)
        weights = [name for name in names if name.startswith(f"{stem}-") and name.endswith(f".{ending}")]
    else:
        weights = [layout.weights]
    return sorted({*small, *cards, *weights})


def _no_layout(names: Collection[str], where: str, pickles: list[str]) -> CheckpointError:
    if len(pickles) > 1:
        return CheckpointError(f"{where} holds several .pt files ({', '.join(pickles)}): name one of them")
    kind: Kind
    for kind in ("open_clip", "huggingface", "anmok"):
        if CONFIGS[kind] in names:
            looked_for = ", ".join(WEIGHTS[kind]) + (f", {' with '.join(EXPORTS)}" if kind == "huggingface" else "")
            return MissingFile(f"{where} has {CONFIGS[kind]} but no weights; looked for {looked_for}")
        if any(name in names for name in WEIGHTS[kind]):
            return MissingFile(f"{where} has weights but no {CONFIGS[kind]}, which says what they are")
    top = sorted(name for name in names if "/" not in name)
    there = ", ".join(top[:8]) + (" …" if len(top) > 8 else "") if top else "nothing"
    return CheckpointError(
        f"{where} is not a checkpoint. Looked for open_clip_config.json (open_clip), config.json (Hugging Face), "
        f"{' with '.join(EXPORTS)} (ONNX exports), anmok_config.json (anmok) or one .pt file (OpenAI); found {there}"
    )
