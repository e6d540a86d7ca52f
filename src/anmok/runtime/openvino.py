"""Graphs in OpenVINO (extra `openvino`): where a processor has VNNI, bf16 or AMX it uses them best."""

from __future__ import annotations

import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.models.graphs import Graph

__all__ = ["OpenVinoSession", "has_bf16", "installed"]


class OpenVinoSession:
    """A graph on the processor, with the `run` of an ONNX Runtime session. One run at a time; threads wait.

    Raises:
        MissingExtra: OpenVINO is not installed.
    """

    def __init__(self, graph: Graph | Path, *, threads: int = 0, bf16: bool = False) -> None:
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",  # all threads on one run
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        if isinstance(graph, Path):
            self._model = _core().compile_model(graph, "CPU", options)
            return
        with tempfile.TemporaryDirectory() as folder:  # it reads weights from files only, and keeps its own
            file = Path(folder) / "graph.onnx"
            graph.save(file)
            model = _core().read_model(file)
            self._model = _core().compile_model(model, "CPU", options)
            del model

    def run(self, names: list[str], feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The outputs of these names; the arrays belong to the caller."""
        request = self._model.create_infer_request()
        request.infer(feed, share_inputs=True)
        return [request.get_tensor(name).data.copy() for name in names]


def installed() -> bool:
    """Whether OpenVINO is there (not whether it works)."""
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 itself; else it would be slower than float32."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@cache
def _core() -> Any:
    # Importing OpenVINO tells its makers of it over the network. Where this module cannot be imported, it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtra("openvino", "openvino", "engine='openvino'") from error
    core = openvino.Core()
    core.set_property({"ENABLE_MMAP": False})  # a file may be gone, or replaced, while its model still runs
    return core
