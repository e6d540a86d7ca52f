"""A LoRA adapter as data: merged into a checkpoint, and taken out again, with NumPy alone.

    W' = W + (alpha / r) · B A        for the rows of W that the change belongs to

So an adapter trains with PyTorch and is used without. Source: LoRA (Hu et al. 2021, arXiv 2106.09685, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anmok.models.spec import weight_shapes
from anmok.models.weights import as_float32
from anmok.tune.settings import TuneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anmok.checkpoints import Checkpoint
    from anmok.models.spec import DualSpec

__all__ = ["Adapter", "Change", "merge", "rows_of", "unmerge"]

Change = tuple[NDArray[np.float32], NDArray[np.float32]]  # A [r, in], B [out, r]
PARTS = "qkv"


@dataclass(frozen=True, eq=False)
class Adapter:
    """Low-rank changes of some maps of a checkpoint.

    `changes`: A [r, in] and B [out, r] by the name of the map, such as "image.blocks.0.attention.q" or
        "image.stages.0.0.conv1".
    `rank`, `alpha`: a change is B A scaled by alpha / rank.
    `dropout`: it was trained with.
    `base`: fingerprint of the checkpoint that it was trained on; "" where that is not known.
    """

    changes: Mapping[str, Change] = field(repr=False)
    rank: int
    alpha: float
    dropout: float = 0.0
    base: str = ""

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(down.size + up.size for down, up in self.changes.values())


def merge(checkpoint: Checkpoint, adapter: Adapter) -> Checkpoint:
    """The checkpoint with the changes added to its weights: an ordinary model, with a fingerprint of its own.

    Raises:
        TuneError: the adapter was trained on other weights, or does not fit the model.
    """
    if adapter.base and adapter.base != checkpoint.fingerprint:
        raise TuneError(
            f"the adapter was trained on the model {adapter.base}, and {checkpoint.name} is {checkpoint.fingerprint}: "
            "merge it with the checkpoint that it was made from (or set its base to '' to add it all the same)"
        )
    return _added(checkpoint, adapter, 1.0)


def unmerge(checkpoint: Checkpoint, adapter: Adapter) -> Checkpoint:
    """The inverse of `merge`, up to float32's rounding. Where the original is at hand, take that.

    Raises:
        TuneError: the adapter does not fit the model.
    """
    return _added(checkpoint, adapter, -1.0)


def rows_of(name: str, spec: DualSpec) -> tuple[str, slice]:
    """The array, and its rows, that the change of this name belongs to.

    Raises:
        TuneError: the model has no such map.
    """
    shapes = weight_shapes(spec)
    parent, _, own = name.rpartition(".")
    fused = f"{parent}.qkv.weight"
    if own in ("q", "k", "v") and fused in shapes:
        width, part = shapes[fused][0] // len(PARTS), PARTS.index(own)
        return fused, slice(part * width, (part + 1) * width)
    weight = f"{name}.weight"
    shape = shapes.get(weight, ())
    if own == "token_embedding" or len(shape) not in (2, 4) or shape[2:] not in ((), (1, 1)):
        raise TuneError(f"the adapter changes {name}, which is no linear map or 1x1 convolution of this model")
    return weight, slice(0, shape[0])


def _added(checkpoint: Checkpoint, adapter: Adapter, sign: float) -> Checkpoint:
    if checkpoint.exports is not None:
        raise TuneError(f"{checkpoint.name} holds ready ONNX exports, whose weights cannot be changed")
    weights = dict(checkpoint.weights)
    changed: dict[str, NDArray[np.float32]] = {}
    for name, (down, up) in adapter.changes.items():
        weight, rows = rows_of(name, checkpoint.spec)
        array = changed.setdefault(weight, np.array(as_float32(checkpoint.weights[weight])))
        part = array[rows]
        if (len(up), down.shape[1]) != part.shape[:2] or down.shape[0] != up.shape[1]:
            raise TuneError(
                f"the adapter's change of {name} is {list(up.shape)} times {list(down.shape)}, "
                f"the model's map {list(part.shape)}: it belongs to another model"
            )
        change = (up.astype(np.float64) @ down.astype(np.float64)) * (sign * adapter.alpha / adapter.rank)
        part += change.reshape(part.shape).astype(np.float32)
    return replace(checkpoint, weights=weights | changed, folder=None)
