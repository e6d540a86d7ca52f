"""Graphs in ONNX Runtime, with the weights handed over at session time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.errors import SettingsError

if TYPE_CHECKING:
    from anmok.models.graphs import Graph

__all__ = ["installed", "open_session"]


def installed() -> bool:
    """Whether ONNX Runtime is there. It is in the default install, but some systems have no wheel of it."""
    from importlib.util import find_spec

    return find_spec("onnxruntime") is not None


def open_session(graph: Graph | Path, *, threads: int = 0) -> Any:
    """Open a Graph, or an .onnx file, as an `onnxruntime.InferenceSession` on the processor.

    A Graph's arrays are shared with the session, not copied into the protobuf, so towers
    above protobuf's 2 GB limit open and memory holds their weights once.

    Raises:
        SettingsError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise SettingsError("this needs ONNX Runtime, which is not installed: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: what matters is raised
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the cores from what decodes the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if isinstance(graph, Path):
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.initializers.values()]
    options.add_external_initializers(list(graph.initializers), values)
    return onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
