"""Classification by labels that stay in their store: for sets that are too large to compare with one by one.

The store's index gives the CANDIDATES nearest labels of a picture, which are scored by their own vectors. A softmax
also needs what all the others add up to; that is estimated from labels drawn at random, once. (A label that is no
candidate is no more probable than the last one, but there are many of them.)
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from anmok.classify.classifier import Classifier, Predictions, Recognizer, probabilities_of
from anmok.classify.hierarchy import Hierarchy
from anmok.classify.label_store import LabelStore, label_of
from anmok.classify.labels import Label, LabelSet
from anmok.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray

    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder
    from anmok.store import Match

__all__ = ["LARGE", "StoredClassifier", "open_classifier"]

LARGE = 50_000  # labels from which on they stay in the store
CANDIDATES = 256
SAMPLE = 4096  # labels drawn to estimate what is not among the candidates


def open_classifier(path: str | Path, encoder: Encoder) -> Classifier | StoredClassifier:
    """A classifier of the labels in a LabelStore: in memory where they are few, else by its index.

    Raises:
        FingerprintMismatch: the labels were encoded by another encoder.
        LabelError: there are no labels, or the store holds something else.
        StoreError: no such store, or it cannot be read.
    """
    classifier = StoredClassifier(path, encoder)
    if len(classifier) >= LARGE:
        return classifier
    classifier.close()
    return Classifier.from_store(path, encoder)


class StoredClassifier(Recognizer):
    """Recognises what the labels of a LabelStore name. `classify` as `Classifier` has it.

    Probabilities: of a softmax within a few percent of what comparing with every label gives (the part of the labels
    that are no candidates is estimated); of a sigmoid exact. With `back_off`, a parent counts the labels below it that
    are candidates: it is at least as probable as told.

    Raises:
        FingerprintMismatch: the labels were encoded by another encoder.
        LabelError: there are no labels, or the store holds something else.
        StoreError: no such store, or it cannot be read.
    """

    def __init__(self, path: str | Path, encoder: Encoder) -> None:
        self.encoder = encoder
        self._labels = LabelStore(path, encoder, create=False, readonly=True)
        self._parents: dict[str, str | None] = {}  # of labels that are parents, as they are asked for
        if not len(self._labels):
            self.close()
            raise LabelError(f"{path} holds no labels: add some with anmok labels add")
        self.templates = self._labels.templates
        self.threshold = self._labels.threshold

    def __len__(self) -> int:
        """How many labels there are."""
        return len(self._labels)

    def labels_named(self, names: Iterable[str]) -> list[Label]:
        """The labels of these names, as far as there are such."""
        return self._labels.get(names)

    def __enter__(self) -> StoredClassifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        self._labels.close()

    def _classified(self, embeddings: Embeddings, top: int, back_off: float | None) -> list[Predictions]:
        embeddings.require(self.encoder.fingerprint)
        if not len(embeddings):
            return []
        found = self._labels.nearest(embeddings.vectors, max(top, CANDIDATES))
        return [
            self._among(vector, matches, top, back_off)
            for vector, matches in zip(embeddings.vectors, found, strict=True)
        ]

    def _among(self, vector: NDArray[np.float32], found: list[Match], top: int, back_off: float | None) -> Predictions:
        """The best of the candidates that were found for one picture."""
        labels = [label_of(match.key, match.metadata) for match in found]
        cosines = np.array([match.score for match in found], np.float32)
        others = self._sample @ vector
        others = others[others < cosines.min()]  # what is nearer is a candidate already
        weight = (len(self) - len(found)) / max(1, len(others))
        probabilities = probabilities_of(self.encoder, cosines[None], others[None], weight if len(others) else 0.0)[0]
        matches = self._background.match_cosines(cosines)
        top = min(top, len(found))
        if back_off is None:
            known = LabelSet(labels)
            return self._predictions(known, cosines, probabilities, matches, top=top, back_off=None, hierarchy=None)
        wider = [Label(name, parent=parent) for name, parent in self._ancestors(labels).items()]
        known = LabelSet(labels + wider)  # a parent that is no candidate is as good as impossible itself
        cosines = np.concatenate([cosines, np.full(len(wider), -1, np.float32)])
        probabilities = np.concatenate([probabilities, np.zeros(len(wider))])
        matches = np.concatenate([matches, np.zeros(len(wider), np.float32)])
        tree = Hierarchy(known)
        return self._predictions(known, cosines, probabilities, matches, top=top, back_off=back_off, hierarchy=tree)

    def _ancestors(self, labels: list[Label]) -> dict[str, str | None]:
        """Labels of the store above these, with their parents; those among `labels` left out."""
        known = {label.name for label in labels}
        above: dict[str, str | None] = {}
        names = {label.parent for label in labels if label.parent}
        while names := names - known - set(above):
            missing = [name for name in names if name not in self._parents]
            self._parents |= {label.name: label.parent for label in self._labels.get(missing)}
            above |= {name: self._parents[name] for name in names if name in self._parents}
            known |= names
            names = {parent for name in names if (parent := above.get(name))}
        return above

    @cached_property
    def _sample(self) -> NDArray[np.float32]:
        return self._labels.sample(SAMPLE)
