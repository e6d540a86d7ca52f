"""What every method ends as: a linear map of a picture's vector, and perhaps a memory of examples.

    logits = x·Wᵀ + z·Cᵀ + b + α·exp(-β (1 - x·Kᵀ))·V

x: unit vectors of pictures [n, d]; z: what a table says of them [n, c]; K, V: examples and their labels (Tip-Adapter).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Head", "log_softmax", "softmax"]

MOST = 20.0  # of the exponent: beyond, a step of the tuning went astray


@dataclass(frozen=True, eq=False)
class Head:
    """Logits of m labels.

    `weights` [m, d], `bias` [m]; `column_weights` [m, c]; `keys` [k, d], `values` [k, m], `strength` α and
    `sharpness` β of the memory. Parts that a method has not are empty.
    """

    weights: Array
    bias: Array
    column_weights: Array
    keys: Array
    values: Array
    strength: float = 0.0
    sharpness: float = 0.0

    @staticmethod
    def linear(weights: Array, bias: Array | None = None, column_weights: Array | None = None) -> Head:
        """A head without a memory."""
        m, d = weights.shape
        return Head(
            weights,
            np.zeros(m) if bias is None else bias,
            np.empty((m, 0)) if column_weights is None else column_weights,
            np.empty((0, d)),
            np.empty((0, m)),
        )

    def remembering(self, keys: Array, values: Array, *, strength: float, sharpness: float) -> Head:
        """The same with a memory of examples."""
        return replace(self, keys=keys, values=values, strength=strength, sharpness=sharpness)

    def scaled(self, factor: float) -> Head:
        """The same with all logits times a factor."""
        return replace(
            self,
            weights=factor * self.weights,
            bias=factor * self.bias,
            column_weights=factor * self.column_weights,
            strength=factor * self.strength,
        )

    def logits(self, pictures: Array, columns: Array | None = None) -> Array:
        """Unit vectors [n, d] and, where the head has them, columns [n, c] → [n, m]."""
        found: Array = np.asarray(pictures, np.float64) @ self.weights.T + self.bias
        if columns is not None and self.column_weights.shape[1]:
            found += columns @ self.column_weights.T
        if self.strength:
            found += self.strength * (affinity(pictures, self.keys, self.sharpness) @ self.values)
        return found

    @property
    def arrays(self) -> dict[str, Array]:
        """Name → array, those that hold anything."""
        names = ("weights", "bias", "column_weights", "keys", "values")
        return {name: getattr(self, name) for name in names if getattr(self, name).size}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[np.floating]], *, strength: float, sharpness: float) -> Head:
        """From what `arrays` gave."""
        kept = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
        head = Head.linear(kept["weights"], kept["bias"], kept.get("column_weights"))
        if "keys" in kept:
            head = head.remembering(kept["keys"], kept["values"], strength=strength, sharpness=sharpness)
        return head


def affinity(pictures: Array, keys: Array, sharpness: float) -> Array:
    """exp(-β (1 - cosine)) of pictures [n, d] and examples [k, d], 0..1; tuned keys may be longer and reach e^MOST."""
    near: Array = np.exp(np.minimum(-sharpness * (1 - np.asarray(pictures, np.float64) @ keys.T), MOST))
    return near


def log_softmax(logits: Array) -> Array:
    """Log of the probabilities, [n, m]."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log


def softmax(logits: Array) -> Array:
    """Probabilities, [n, m]."""
    probabilities: Array = np.exp(log_softmax(logits))
    return probabilities
