"""The texts of classes: tokenized once, and which of them a step looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from anmok.texts import Tokenizer

__all__ = ["ClassTexts"]

Chosen = tuple["Tensor", "Tensor"]  # ids int64 [t, l], and how texts make classes: float32 [m, t], rows that add to 1


class ClassTexts:
    """Several texts for each of m classes; a class is the mean of the unit vectors of its texts.

    Source: prompt ensembling, CLIP (Radford et al. 2021, arXiv 2103.00020), section 3.1.4.
    """

    def __init__(self, tokenizer: Tokenizer, class_texts: Sequence[Sequence[str]]) -> None:
        place = {text: row for row, text in enumerate(dict.fromkeys(text for texts in class_texts for text in texts))}
        self._ids = tokenizer(list(place))
        self._rows = [np.array([place[text] for text in dict.fromkeys(texts)]) for texts in class_texts]

    def all(self) -> Chosen:
        """Every text of every class."""
        return self._chosen(self._rows)

    def drawn(self, count: int, random: np.random.Generator) -> Chosen:
        """So many texts of each class, drawn anew, or all of a class that has no more; 0: all."""
        if not count:
            return self.all()
        return self._chosen([random.choice(rows, min(count, len(rows)), replace=False) for rows in self._rows])

    def _chosen(self, rows_of: Sequence[NDArray[np.int64]]) -> Chosen:
        used = np.unique(np.concatenate(rows_of))
        means = np.zeros((len(rows_of), len(used)), np.float32)
        for row, texts in enumerate(rows_of):
            means[row, np.searchsorted(used, texts)] = 1 / len(texts)
        return torch.from_numpy(self._ids[used]), torch.from_numpy(means)
