"""The one form that every checkpoint is turned into."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anmok.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from anmok.models.spec import DualSpec
    from anmok.pictures import Transform
    from anmok.texts import Tokenizer

__all__ = ["Checkpoint", "ExportedGraphs"]

OUTPUTS = ("image_embeds", "text_embeds", "pooler_output")  # as exports call the embedding, the projected one first


@dataclass(frozen=True)
class ExportedGraphs:
    """Ready ONNX files of the two towers, as found on the hub.

    `image` takes normalized pixels float32 [n, 3, h, w] as `image_input`, `text` takes token
    ids int64 [n, l] as `text_input`.
    """

    image: Path
    text: Path
    image_input: str = "pixel_values"
    text_input: str = "input_ids"

    def output_of(self, session: InferenceSession) -> str:
        """The name of the embedding among the outputs of an open session.

        Raises:
            CheckpointError: none of them is one.
        """
        names = [output.name for output in session.get_outputs()]
        for name in OUTPUTS:
            if name in names:
                return name
        raise CheckpointError(f"the ONNX export gives {', '.join(names)}; expected one of {', '.join(OUTPUTS)}")


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything that belongs to it: spec, weights, picture transform, tokenizer.

    `name`: what it was loaded by.
    `weights`: our names (`weight_shapes`) → arrays of any float type, memory-mapped; with
        `exports` only the logit scale and bias.
    `license`: as its card or anmok's table of models says, or None where neither does.
    `exports`: ready ONNX files that run instead of spec and weights.
    `folder`: where its files lie, or None.
    """

    name: str
    spec: DualSpec
    weights: Mapping[str, NDArray[np.floating[Any]]] = field(repr=False)
    transform: Transform
    tokenizer: Tokenizer = field(repr=False)
    license: str | None = None
    exports: ExportedGraphs | None = None
    folder: Path | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over spec, weights, transform and tokenizer, as 32 hex characters.

        Equal for equal content, whatever layout it is stored in. It is computed when it is first
        asked for, and of large files remembered between runs.
        """
        from anmok.checkpoints.fingerprint import fingerprint

        return fingerprint(self)
