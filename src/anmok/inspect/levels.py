"""Features of two depths of a tower, brought to equal weight.

`Features.local` holds them side by side, and the deeper ones of a convolutional network have several times the length:
the fine ones, in which a scratch shows, would hardly count. Measured on drawn labels: picture AUROC 0.82 instead of
0.69.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.embeddings import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["balanced"]


def balanced(features: NDArray[np.float32], widths: Sequence[int]) -> NDArray[np.float32]:
    """Features [..., c] → of unit length, each depth with an equal part of it.

    Half the squared distance of two of them is 1 - the mean of the cosines of the depths.
    """
    parts = np.split(features, np.cumsum(widths)[:-1], axis=-1)
    even: NDArray[np.float32] = np.concatenate([unit(part) for part in parts], axis=-1)
    even /= np.sqrt(len(widths))
    return even
