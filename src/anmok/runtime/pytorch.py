"""The PyTorch modules (extra `train`): on a GPU where there is one (CUDA, MPS), else on the processor."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.runtime.choice import Choice
    from anmok.runtime.trial import Feed, Tower

__all__ = ["TorchSession", "TorchTowers", "gpu", "installed"]


def installed() -> bool:
    """Whether PyTorch is there (not whether it works)."""
    from importlib.util import find_spec

    return find_spec("torch") is not None


def gpu() -> str | None:
    """The GPU that PyTorch can use, "cuda" or "mps". Loads PyTorch, which takes seconds."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else None


class TorchTowers:
    """Both towers in float32, as they are read and trained."""

    shrinks = False

    def __init__(self, checkpoint: Checkpoint, threads: int) -> None:
        if checkpoint.exports is not None:
            raise SettingsError(f"{checkpoint.name} holds ready ONNX graphs, which torch does not run: engine='auto'")
        if not installed():
            raise MissingExtra("torch", "train", "engine='torch'")
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._checkpoint = checkpoint
        self._device = gpu() or "cpu"

    @cached_property
    def _model(self) -> Any:
        from anmok.models.modules import from_weights

        return from_weights(self._checkpoint.spec, self._checkpoint.weights).to(self._device)

    def choice(self, tower: Tower) -> Choice:
        """Always the same."""
        from anmok.runtime.choice import Choice, Way

        return Choice(Way("torch", "fp32"))

    def worked(self, tower: Tower, seconds: float) -> None:
        """There is nothing to choose."""

    def due(self, tower: Tower) -> bool:
        """There is nothing to choose."""
        return False

    def settled(self, tower: Tower) -> bool:
        """It was asked for."""
        return True

    def settle(self, tower: Tower, *, measure: bool = True) -> None:
        """There is nothing to choose."""

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures uint8 [n, h, w, 3]; float32 [n, d]."""
        import torch

        from anmok.pictures import normalize

        with torch.inference_mode():
            normalized = torch.from_numpy(normalize(pixels, self._checkpoint.transform))
            return _numpy(self._model.encode_image(normalized.to(self._device)))

    def patches(
        self, patches: NDArray[np.uint8], mask: NDArray[np.bool_], shapes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embed NaFlex pictures: patches uint8 [n, m, p*p*3], mask [n, m], rows and columns [n, 2]."""
        import torch

        from anmok.pictures import normalize_patches

        with torch.inference_mode():
            normalized = torch.from_numpy(normalize_patches(patches, self._checkpoint.transform))
            encoded = self._model.encode_image(
                normalized.to(self._device),
                mask=torch.from_numpy(mask).to(self._device),
                shapes=torch.from_numpy(np.asarray(shapes)).to(self._device),
            )
            return _numpy(encoded)

    def text(self, ids: NDArray[np.int64], *, most: int = 256) -> NDArray[np.float32]:
        """Embed token ids int64 [n, l], at most so many a run; float32 [n, d]."""
        import torch

        with torch.inference_mode():
            parts = (torch.from_numpy(ids[start : start + most]) for start in range(0, len(ids), most))
            return np.concatenate([_numpy(self._model.encode_text(part.to(self._device))) for part in parts])


class TorchSession:
    """One tower with the `run` of an ONNX Runtime session, for the measurement that chooses an engine.

    Pixels are normalized on the device. Texts are run whole: their shared beginnings save a GPU nothing.
    """

    def __init__(self, checkpoint: Checkpoint, tower: Tower, *, bf16: bool, threads: int = 0) -> None:
        import torch

        from anmok.models.modules import from_weights

        if threads:
            torch.set_num_threads(threads)
        self._device = gpu() or "cpu"
        self._type = torch.bfloat16 if bf16 else torch.float32
        model = from_weights(checkpoint.spec, checkpoint.weights)
        module = model.image if tower == "image" else model.text
        self._module = module.to(self._device, self._type)
        self._mean, self._std = (
            255 * torch.tensor(values, device=self._device).view(3, 1, 1)
            for values in (checkpoint.transform.mean, checkpoint.transform.std)
        )

    def run(self, names: list[str], feed: Feed) -> list[NDArray[Any]]:
        """The embeddings [n, d] of `pixels` uint8 [n, h, w, 3] or of token `ids` int64 [n, l]."""
        import torch

        with torch.inference_mode():
            if "ids" in feed:
                return [_numpy(self._module(torch.from_numpy(feed["ids"]).to(self._device)))]
            pixels = torch.from_numpy(feed["pixels"]).to(self._device).permute(0, 3, 1, 2)
            return [_numpy(self._module(((pixels - self._mean) / self._std).to(self._type)))]


def _numpy(tensor: Any) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
