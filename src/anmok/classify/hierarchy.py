"""Back off to a wider label when no narrow one is sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.classify.labels import LabelSet

__all__ = ["Hierarchy"]


class Hierarchy:
    """The tree that the parents of a label set make.

    Each node (a label, or a parent that is no label itself) covers its own label and every
    label below it.
    """

    def __init__(self, labels: LabelSet) -> None:
        covers: dict[str, list[int]] = {}
        self._depth: dict[str, int] = {}
        for index, label in enumerate(labels):
            path = labels.path(label.name)
            for up, node in enumerate(path):
                covers.setdefault(node, []).append(index)
                self._depth[node] = len(path) - 1 - up
        self.members = {node: np.array(indices) for node, indices in covers.items()}

    def surest(self, probabilities: NDArray[np.float64], level: float, *, add: bool) -> tuple[str, float] | None:
        """The deepest node whose probability reaches `level`; the more probable of two equally deep ones.

        Args:
            probabilities: [m], of one picture.
            level: how sure is sure enough, 0..1.
            add: whether the probabilities of labels exclude each other and add up (softmax). Otherwise
                (sigmoid) a node is as probable as the most probable label below it.

        Returns:
            The node and its probability, or None where even the widest is not sure.
        """
        best: tuple[int, float, str] | None = None
        for node, members in self.members.items():
            below = probabilities[members]
            probability = float(min(below.sum(), 1.0) if add else below.max())
            candidate = (self._depth[node], probability, node)
            if probability >= level and (best is None or candidate[:2] > best[:2]):
                best = candidate
        return (best[2], best[1]) if best else None
