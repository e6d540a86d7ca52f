"""How well faults are told from good parts, and found: AUROC of pictures and pixels, AUPRO of regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["aupro", "auroc", "regions"]

LIMIT = 0.3  # false positive rate up to which AUPRO integrates


def auroc(truth: Sequence[bool] | NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Chance that a fault scores higher than what is good; equal scores count half (Mann-Whitney)."""
    truth, scores = np.asarray(truth, bool).ravel(), np.asarray(scores).ravel()
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive, negative = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - positive * (positive + 1) / 2) / (positive * negative))


def aupro(masks: NDArray[np.bool_], maps: NDArray[np.floating], *, limit: float = LIMIT) -> float:
    """Area under the per-region overlap, up to `limit` false positives, divided by `limit`.

    Bergmann et al. 2020 (arXiv 1911.02357, section 4.1): at each threshold, the mean over the faulty regions of the
    share of each that is found, against the share of good pixels that are called faulty.

    Args:
        masks: [n, h, w], True where faulty.
        maps: [n, h, w], higher is more faulty.
    """
    weight = np.zeros(maps.shape)  # what a found pixel adds to the mean overlap
    count = 0
    for mask, share in zip(masks, weight, strict=True):
        for region in regions(mask):
            share[region] = 1 / region.sum()
            count += 1
    order = np.argsort(maps.ravel(), kind="stable")[::-1]
    found = np.cumsum(weight.ravel()[order]) / count
    false = np.cumsum(~masks.ravel()[order]) / (~masks).sum()
    values = maps.ravel()[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))  # equal values are passed together
    false, found = np.append(0, false[last]), np.append(0, found[last])
    inside = false <= limit
    x = np.append(false[inside], limit)
    y = np.append(found[inside], np.interp(limit, false, found))
    return float(np.trapezoid(y, x) / limit)


def regions(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """The parts of a mask [h, w] that hang together, each as a mask."""
    rest, found = mask.copy(), []
    while rest.any():
        whole = np.zeros_like(mask)
        whole.flat[rest.argmax()] = True
        grown = 0
        while grown != (grown := int(whole.sum())):  # grow into the neighbours until nothing is added
            padded = np.pad(whole, 1)
            h, w = mask.shape
            whole = rest & np.logical_or.reduce([padded[y : y + h, x : x + w] for y in range(3) for x in range(3)])
        found.append(whole)
        rest &= ~whole
    return found
