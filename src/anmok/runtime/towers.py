"""The two towers of a checkpoint, ready to run: pixels and token ids in, embeddings out.

Engines:
    onnxruntime   the graphs of `models/graphs` (the default; no torch)
    torch         the modules of `models/modules` (extra `train`), for comparing and for reading along

A tower is opened when it is first used: a search by text never loads the image tower.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from anmok.errors import MissingExtra, SettingsError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint

__all__ = ["ENGINES", "PRECISIONS", "Towers", "open_towers"]

ENGINES = ("onnxruntime", "torch")
PRECISIONS = ("fp32",)

Floats = "NDArray[np.float32]"


class Towers(Protocol):
    """What every engine offers. Embeddings are float32 [n, d], not yet of unit length."""

    engine: str

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures uint8 [n, h, w, 3] as `Transform` yields them."""

    def patches(
        self, patches: NDArray[np.uint8], mask: NDArray[np.bool_], shapes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embed NaFlex pictures: patches uint8 [n, m, p*p*3], mask [n, m], rows and columns [n, 2]."""

    def text(self, ids: NDArray[np.int64], *, most: int = 256) -> NDArray[np.float32]:
        """Embed token ids [n, l], at most so many texts a run."""


def open_towers(checkpoint: Checkpoint, *, engine: str = "auto", precision: str = "auto", threads: int = 0) -> Towers:
    """Open a checkpoint's towers with an engine.

    Args:
        checkpoint: spec, weights and transform.
        engine: "auto" (ONNX Runtime) or one of ENGINES.
        precision: "auto" or "fp32", the only one so far.
        threads: processor threads; 0 for as many as the machine has.

    Raises:
        SettingsError: an unknown engine or precision, or ready ONNX exports asked to run in torch.
        MissingExtra: the engine "torch" where torch is not installed.
    """
    _check("engine", engine, ENGINES)
    _check("precision", precision, PRECISIONS)
    if engine == "torch":
        return _TorchTowers(checkpoint, threads)
    from anmok.runtime.onnxruntime import OnnxTowers

    return OnnxTowers(checkpoint, threads)


def _check(option: str, given: str, known: tuple[str, ...]) -> None:
    if given != "auto" and given not in known:
        raise SettingsError(
            f"{option} {given!r} is unknown; choose from auto, {', '.join(known)}.{did_you_mean(given, known)}"
        )


class _TorchTowers:
    """The PyTorch modules, as they are read and trained."""

    engine = "torch"

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        if checkpoint.exports is not None:
            raise SettingsError(f"{checkpoint.name} holds ready ONNX graphs, which torch does not run: engine='auto'")
        try:
            import torch
        except ImportError as error:
            raise MissingExtra("torch", "train", "engine='torch'") from error
        if threads:
            torch.set_num_threads(threads)
        self._checkpoint = checkpoint

    @cached_property
    def _model(self) -> Any:
        from anmok.models.modules import from_weights

        return from_weights(self._checkpoint.spec, self._checkpoint.weights)

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        from anmok.pictures import normalize

        with torch.inference_mode():
            normalized = torch.from_numpy(normalize(pixels, self._checkpoint.transform))
            return _numpy(self._model.encode_image(normalized))

    def patches(
        self, patches: NDArray[np.uint8], mask: NDArray[np.bool_], shapes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        import torch

        from anmok.pictures import normalize_patches

        with torch.inference_mode():
            normalized = torch.from_numpy(normalize_patches(patches, self._checkpoint.transform))
            encoded = self._model.encode_image(
                normalized, mask=torch.from_numpy(mask), shapes=torch.from_numpy(np.asarray(shapes))
            )
            return _numpy(encoded)

    def text(self, ids: NDArray[np.int64], *, most: int = 256) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            parts = (torch.from_numpy(ids[start : start + most]) for start in range(0, len(ids), most))
            return np.concatenate([_numpy(self._model.encode_text(part)) for part in parts])


def _numpy(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().numpy()
    return array
