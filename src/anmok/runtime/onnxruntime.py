"""The towers in ONNX Runtime, with the weights handed over at session time."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.models.spec import TextSpec
from anmok.runtime.beginnings import run_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.models.graphs import Graph

__all__ = ["OnnxTowers", "open_session"]


class OnnxTowers:
    """A checkpoint's graphs in ONNX Runtime on the processor. Each tower opens when it is first used."""

    engine = "onnxruntime"

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        self._checkpoint = checkpoint
        self._threads = threads
        words = checkpoint.spec.text
        self._sharing: TextSpec | None = None  # a tower that can run beginnings apart
        if checkpoint.exports is None and isinstance(words, TextSpec) and words.trims:
            self._sharing = words

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures uint8 [n, h, w, 3]; float32 [n, d]."""
        if self._checkpoint.exports is not None:
            from anmok.pictures import normalize

            name = self._checkpoint.exports.image_input
            return self._run(self._image, {name: normalize(pixels, self._checkpoint.transform)})
        return self._run(self._image, {"pixels": pixels})

    def patches(
        self, patches: NDArray[np.uint8], mask: NDArray[np.bool_], shapes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embed NaFlex pictures: patches uint8 [n, m, p*p*3], mask [n, m], rows and columns [n, 2]."""
        from anmok.models.graphs import naflex_inputs

        return self._run(self._image, naflex_inputs(self._checkpoint.spec, patches, mask, shapes))

    def text(self, ids: NDArray[np.int64], *, most: int = 256) -> NDArray[np.float32]:
        """Embed token ids int64 [n, l], at most so many a run; float32 [n, d]."""
        if (spec := self._sharing) is not None:
            nothing = np.zeros((spec.layers, 2, spec.heads, 0, spec.width // spec.heads), np.float32)
            lengths = (ids == spec.eos_token).argmax(axis=1) + 1  # the first end; a text without one ends at once
            return run_texts(ids, lengths, self._run_text, nothing=nothing, most=most)
        name = self._checkpoint.exports.text_input if self._checkpoint.exports is not None else "ids"
        runs = [self._run(self._text, {name: ids[start : start + most]}) for start in range(0, len(ids), most)]
        return np.concatenate(runs)

    def _run_text(
        self, ids: NDArray[np.int64], past: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        embedding, seen = self._text.run(["embedding", "seen"], {"ids": ids, "past": past})
        return embedding, seen

    @cached_property
    def _image(self) -> Any:
        if self._checkpoint.exports is not None:
            return open_session(self._checkpoint.exports.image, threads=self._threads)
        from anmok.models.graphs import image_graph

        transform = self._checkpoint.transform
        graph = image_graph(self._checkpoint.spec, self._checkpoint.weights, mean=transform.mean, std=transform.std)
        return open_session(graph, threads=self._threads)

    @cached_property
    def _text(self) -> Any:
        if self._checkpoint.exports is not None:
            return open_session(self._checkpoint.exports.text, threads=self._threads)
        from anmok.models.graphs import text_graph

        graph = text_graph(self._checkpoint.spec, self._checkpoint.weights, shares_beginnings=self._sharing is not None)
        return open_session(graph, threads=self._threads)

    def _run(self, session: Any, feed: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
        if self._checkpoint.exports is None:
            return np.asarray(session.run(["embedding"], feed)[0], np.float32)
        output = self._checkpoint.exports.output_of(session)
        return np.asarray(session.run([output], feed)[0], np.float32)


def open_session(graph: Graph | Path, *, threads: int = 0) -> Any:
    """Open a Graph, or an .onnx file, as an `onnxruntime.InferenceSession` on the processor.

    A Graph's arrays are shared with the session, not copied into the protobuf, so towers
    above protobuf's 2 GB limit open and memory holds their weights once.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: what matters is raised
    options.intra_op_num_threads = threads
    if isinstance(graph, Path):
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.initializers.values()]
    options.add_external_initializers(list(graph.initializers), values)
    return onnxruntime.InferenceSession(graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
