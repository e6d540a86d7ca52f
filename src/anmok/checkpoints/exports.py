"""Ready ONNX exports as found on the hub: `onnx/vision_model.onnx` and `onnx/text_model.onnx`.

The files run as they are. Spec, tokenizer and transform come from the Hugging Face files
beside them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from anmok.checkpoints.checkpoint import ExportedGraphs
from anmok.checkpoints.layouts import COMBINED_EXPORT, EXPORTS
from anmok.errors import CheckpointError, MissingFile

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto

    from anmok.models.spec import DualSpec

__all__ = ["open_exports", "scale_and_bias"]

CLIP_SCALE = math.log(100)  # CLIP's training holds the scale at 100 (paper, section 2.5), where public models end


def open_exports(folder: Path) -> ExportedGraphs:
    """The exported towers of a folder, with the names of their inputs checked.

    Raises:
        CheckpointError: a file is damaged, or asks for inputs other than pixels or token ids.
    """
    image, text = (folder / name for name in EXPORTS)
    return ExportedGraphs(
        image=image,
        text=text,
        image_input=_only_input(image, "pixel_values"),
        text_input=_only_input(text, "input_ids"),
    )


def scale_and_bias(folder: Path, spec: DualSpec) -> dict[str, NDArray[np.float32]]:
    """`logit_scale` (a logarithm) and, for SigLIP, `logit_bias`.

    The exported towers lack them; they are looked for in `onnx/model.onnx`. CLIP's is otherwise
    taken as 100, where its training holds it.

    Raises:
        MissingFile: a SigLIP without `onnx/model.onnx`, or one that does not name them.
    """
    wanted = ("logit_scale", "logit_bias") if spec.logit_bias else ("logit_scale",)
    combined = folder / COMBINED_EXPORT
    found = _initializers(combined, wanted) if combined.is_file() else {}
    if not spec.logit_bias:
        found.setdefault("logit_scale", np.array(CLIP_SCALE, np.float32))
    lost = [name for name in wanted if name not in found]
    if lost:
        raise MissingFile(
            f"{folder}: {' and '.join(lost)} are neither in the exported towers nor by name in {COMBINED_EXPORT}; "
            "put model.safetensors of the same model beside them, which has them (it is then loaded instead)"
        )
    return found


def _only_input(file: Path, expected: str) -> str:
    graph = _read(file).graph
    stored = {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input if value.name not in stored]
    if names != [expected]:
        raise CheckpointError(f"{file} asks for {', '.join(names) or 'nothing'}; anmok feeds it {expected} alone")
    return expected


def _initializers(file: Path, wanted: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    from onnx import numpy_helper

    return {
        tensor.name: numpy_helper.to_array(tensor).astype(np.float32).reshape(())
        for tensor in _read(file).graph.initializer
        if tensor.name in wanted and not tensor.external_data
    }


def _read(file: Path) -> ModelProto:
    import onnx

    try:
        return onnx.load(str(file), load_external_data=False)
    except Exception as error:  # protobuf's own error, which onnx does not wrap
        raise CheckpointError(f"{file} is not an ONNX file, or it is cut: fetch it again") from error
