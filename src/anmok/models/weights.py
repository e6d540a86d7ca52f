"""Named arrays, the other half of a model: checked against a spec, and turned into float32 one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.errors import WeightsMismatch
from anmok.models.spec import weight_shapes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anmok.models.spec import DualSpec

__all__ = ["Array", "Weights", "as_float32", "check_weights"]

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]

_SHOWN = 8  # names listed in an error before "and N more"


def check_weights(spec: DualSpec, weights: Weights) -> None:
    """Make sure that `weights` holds exactly the arrays that `spec` asks for.

    Only names and shapes are looked at, so memory-mapped arrays are not read.

    Raises:
        WeightsMismatch: arrays are missing, unexpected or of another shape; all of them are named at once.
    """
    wanted = weight_shapes(spec)
    problems = []
    if missing := [name for name in wanted if name not in weights]:
        problems.append(f"missing: {_listed(missing)}")
    if unexpected := [name for name in weights if name not in wanted]:
        problems.append(f"unexpected: {_listed(unexpected)}")
    if misshapen := [
        f"{name} is {list(weights[name].shape)}, expected {list(shape)}"
        for name, shape in wanted.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]:
        problems.append(f"of another shape: {_listed(misshapen)}")
    if problems:
        raise WeightsMismatch(
            "the weights do not fit the model's configuration (" + "; ".join(problems) + "); "
            "use the configuration file that belongs to these weights"
        )


def as_float32(array: Array) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The array as contiguous float32: itself where it already is, else a converted copy (fp16, bf16, fp64)."""
    # asarray with order="C" rather than ascontiguousarray, which turns a scalar into an array of one
    return np.asarray(array, dtype=np.float32, order="C")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
