"""A threshold that tells pictures of a known label from pictures of none, from a few examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.errors import LabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["best_threshold"]


def best_threshold(matches: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    """The threshold of highest balanced accuracy; of equally good ones, the middle of the widest gap.

    Balanced accuracy (the mean of the share of known pictures found and of unknown ones refused) keeps a
    lopsided handful of examples from deciding. With examples of one kind only, the threshold lies halfway
    between them and the end of the scale.

    Args:
        matches: best match of each example, [n] in 0..1.
        known: whether the example shows one of the labels, [n].

    Returns:
        The threshold; a match at or above it is found.

    Raises:
        LabelError: there are no examples.
    """
    if not len(matches):
        raise LabelError("a threshold needs examples: give pictures of the labels, and pictures of none of them")
    values = np.unique(matches.astype(np.float64))
    edges = np.concatenate([[min(0.0, values[0])], values, [max(1.0, values[-1] + 1e-3)]])
    cuts = (edges[1:] + edges[:-1]) / 2
    gaps = edges[1:] - edges[:-1]
    found = matches[None, :] >= cuts[:, None]
    parts = []
    if known.any():
        parts.append(found[:, known].mean(axis=1))
    if not known.all():
        parts.append(1 - found[:, ~known].mean(axis=1))
    quality = np.mean(parts, axis=0)
    best = np.flatnonzero(quality >= quality.max() - 1e-12)
    return float(cuts[best[np.argmax(gaps[best])]])
