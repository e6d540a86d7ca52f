"""The dense graph of a picture tower, in float32: embedding, patches and local features of a picture in one run."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from anmok.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.runtime.trial import Session

    Places: TypeAlias = NDArray[np.float32] | list[NDArray[np.float32]]

__all__ = ["DenseTower"]

OUTPUTS = ["embedding", "patch_embeddings", "local"]


class DenseTower:
    """Runs in ONNX Runtime, or in OpenVINO where that is missing, whatever the other towers run in.

    Opened when it is first used. Its weights are those that the checkpoint holds, not a copy.

    Raises:
        CheckpointError: the checkpoint holds ready ONNX graphs, which give one vector a picture.
    """

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        if checkpoint.exports is not None:
            raise CheckpointError(
                f"{checkpoint.name} holds ready ONNX graphs, which give a picture one vector and know no places: "
                "put model.safetensors of the same model beside them (it is then loaded instead)"
            )
        self._checkpoint, self._threads = checkpoint, threads
        self._session: Session | None = None
        self._opening = Lock()

    def run(self, *arrays: NDArray[Any]) -> tuple[NDArray[np.float32], Places, Places]:
        """Embeddings [n, d], patches [n, h, w, d] and local features [n, h', w', c], none of unit length.

        Args:
            arrays: pixels uint8 [n, h, w, 3]; NaFlex: patches, mask and shapes, and then patches and local features
                are lists of n arrays, each with its picture's own h and w.
        """
        from anmok.models.graphs import naflex_inputs

        feed = {"pixels": arrays[0]} if len(arrays) == 1 else naflex_inputs(self._checkpoint.spec, *arrays)
        embeddings, patches, local = (np.asarray(array, np.float32) for array in self._opened().run(OUTPUTS, feed))
        if len(arrays) == 1:
            return embeddings, patches, local
        return embeddings, _cut(patches, arrays[2]), _cut(local, arrays[2])

    def _opened(self) -> Session:
        from anmok.models.graphs import image_graph
        from anmok.runtime import onnxruntime, openvino

        with self._opening:
            if self._session is None:
                checkpoint, transform = self._checkpoint, self._checkpoint.transform
                graph = image_graph(
                    checkpoint.spec, checkpoint.weights, mean=transform.mean, std=transform.std, dense=True
                )
                opened = onnxruntime.open_session if onnxruntime.installed() else openvino.OpenVinoSession
                self._session = opened(graph, threads=self._threads)
            return self._session


def _cut(places: NDArray[np.float32], shapes: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """Without padding, on each picture's own rows and columns: [n, m, c] → n times [h, w, c]."""
    return [
        place[: rows * columns].reshape(rows, columns, -1).copy()
        for place, (rows, columns) in zip(places, shapes.tolist(), strict=True)
    ]
