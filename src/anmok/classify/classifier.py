"""Zero-shot classification: which label's text lies nearest to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from anmok import scores
from anmok.classify.hierarchy import Hierarchy
from anmok.classify.labels import Label, LabelSet
from anmok.classify.prompts import Templates, encode_labels, resolve_templates
from anmok.classify.threshold import best_threshold
from anmok.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder, Picture

    Pictures: TypeAlias = Picture | Sequence[Picture]

__all__ = ["Classifier", "Prediction", "Predictions", "Recognizer", "in_order", "probabilities_of"]

CELLS = 1 << 22  # pictures times labels scored at a time, so that a million labels fit into memory


@dataclass(frozen=True)
class Prediction:
    """One label for one picture.

    `probability`: among the given labels; softmax for CLIP (they add up to 1), sigmoid for SigLIP (each by itself).
    `score`: cosine similarity of picture and label, -1..1. Comparable within one label only.
    `match`: 0..1, means the same for every label and encoder (see `anmok.scores`): does the label fit at all?
    """

    label: str
    probability: float
    score: float
    match: float


class Predictions(list[Prediction]):
    """The predictions of one picture, best first.

    `error`: why the picture could not be used (then the list is empty), or None.
    `found`: whether any of all the labels fits; False is "none of these".
    """

    def __init__(
        self, predictions: Iterable[Prediction] = (), *, found: bool = False, error: str | None = None
    ) -> None:
        super().__init__(predictions)
        self.found = found
        self.error = error


class Recognizer:
    """What every classifier can: pictures in, predictions out."""

    encoder: Encoder
    threshold: float  # on `match`, from which on a picture shows one of the labels

    def labels_named(self, names: Iterable[str]) -> list[Label]:
        """The labels of these names, as far as there are such."""
        raise NotImplementedError

    def __len__(self) -> int:
        """How many labels there are."""
        raise NotImplementedError

    def classify(
        self,
        pictures: Pictures,
        *,
        top: int = 5,
        on_error: Literal["raise", "skip"] = "raise",
        back_off: float | None = None,
    ) -> list[Predictions]:
        """The best labels of each picture.

        Args:
            pictures: what `Encoder.encode_image` takes.
            top: how many predictions per picture; all where there are fewer labels.
            on_error: "skip" gives a bad picture an empty list with its `error` set; "raise" raises.
            back_off: with labels that have parents: where no label is this probable (0..1), the first prediction
                is the narrowest parent that is.

        Returns:
            One Predictions (a list) per picture, in order.

        Raises:
            PictureError: a picture cannot be used (with on_error="raise").
        """
        embeddings = self.encoder.encode_image(pictures, on_error=on_error)
        return in_order(embeddings, self.classify_embeddings(embeddings, top=top, back_off=back_off))

    def classify_embeddings(
        self, embeddings: Embeddings, *, top: int = 5, back_off: float | None = None
    ) -> list[Predictions]:
        """As `classify`, for pictures that are encoded already.

        Raises:
            FingerprintMismatch: they were encoded by another encoder.
        """
        if top < 1:
            raise LabelError(f"top is {top}, expected 1 or more")
        return self._classified(embeddings, top, back_off)

    def fit_threshold(self, pictures: Pictures, labels: Sequence[str | None]) -> float:
        """Choose what counts as "none of these" from a few examples, and keep it as `threshold`.

        Args:
            pictures: what `Encoder.encode_image` takes; ten of each kind already help.
            labels: per picture a label, or None where none of the labels fits.

        Returns:
            The threshold on the best `match` of a picture.

        Raises:
            LabelError: counts differ, or a label is not in the set.
        """
        return self.fit_threshold_embeddings(self.encoder.encode_image(pictures), labels)

    def fit_threshold_embeddings(self, embeddings: Embeddings, labels: Sequence[str | None]) -> float:
        """As `fit_threshold`, for pictures that are encoded already."""
        wanted = {label for label in labels if label is not None}
        if unknown := sorted(wanted - {label.name for label in self.labels_named(wanted)}):
            raise LabelError(f"{unknown[0]!r} is not one of the labels. Use None for 'none of these'")
        if len(embeddings) != len(labels):
            raise LabelError(f"{len(embeddings)} pictures but {len(labels)} labels: expected one per picture")
        known = np.array([label is not None for label in labels], bool)
        matches = [predictions[0].match for predictions in self.classify_embeddings(embeddings, top=1)]
        self.threshold = best_threshold(np.array(matches, np.float32), known)
        return self.threshold

    def _classified(self, embeddings: Embeddings, top: int, back_off: float | None) -> list[Predictions]:
        raise NotImplementedError

    def _predictions(
        self,
        labels: LabelSet,
        cosines: NDArray[np.float32],
        probabilities: NDArray[np.float64],
        matches: NDArray[np.float32],
        *,
        top: int,
        back_off: float | None,
        hierarchy: Hierarchy | None,
    ) -> Predictions:
        """The best of `labels` [m] for one picture, by its cosine with each, their probabilities and matches [m]."""

        def predict(label: str, probability: float, members: NDArray[np.intp]) -> Prediction:
            return Prediction(label, probability, float(cosines[members].max()), float(matches[members].max()))

        best = np.argsort(-cosines, kind="stable")[:top]  # by cosine: probabilities may saturate and tie
        predictions = [predict(labels[i].name, float(probabilities[i]), best[k : k + 1]) for k, i in enumerate(best)]
        if back_off is not None and hierarchy is not None and probabilities[best[0]] < back_off:
            node = hierarchy.surest(probabilities, back_off, add=self.encoder.score == "softmax")
            if node is not None:
                name, probability = node
                wider = predict(name, probability, hierarchy.members[name])
                predictions = [wider, *(item for item in predictions if item.label != name)][:top]
        return Predictions(predictions, found=bool(matches.max() >= self.threshold))

    @cached_property
    def _background(self) -> scores.Background:
        return scores.background(self.encoder)


class Classifier(Recognizer):
    """Recognises what the labels name, without training.

    Args:
        encoder: from `anmok.load`.
        labels: a list of strings or Labels, a LabelSet, or the path of a text file or CSV (see `LabelSet.read`).
        templates: "small", "clip80", "korean", "none", a file, or a list of texts with `{}` in them.

    Raises:
        LabelError: the labels or templates cannot be used.
    """

    def __init__(
        self,
        encoder: Encoder,
        labels: LabelSet | Iterable[str | Label] | Path,
        *,
        templates: Templates = "small",
    ) -> None:
        if isinstance(labels, Path):
            labels = LabelSet.read(labels)
        self.encoder = encoder
        self.labels = labels if isinstance(labels, LabelSet) else LabelSet(labels)
        self.templates = resolve_templates(templates)
        self.embeddings = encode_labels(encoder, self.labels, self.templates)
        self.threshold = scores.THRESHOLD

    @classmethod
    def from_store(cls, path: str | Path, encoder: Encoder) -> Classifier:
        """A classifier of the labels saved in a LabelStore; no text is encoded.

        Raises:
            FingerprintMismatch: the labels were encoded by another encoder.
            StoreError: no such store, or it cannot be read.
        """
        from anmok.classify.label_store import LabelStore

        with LabelStore(path, encoder, create=False, readonly=True) as store:
            labels, embeddings = store.read()
            classifier = cls.from_embeddings(encoder, labels, embeddings, templates=store.templates)
            classifier.threshold = store.threshold
        return classifier

    @classmethod
    def from_embeddings(
        cls, encoder: Encoder, labels: LabelSet, embeddings: Embeddings, *, templates: Templates = "none"
    ) -> Classifier:
        """A classifier of labels that are encoded already: row i of `embeddings` is label i.

        Raises:
            FingerprintMismatch: they were encoded by another encoder.
        """
        embeddings.require(encoder.fingerprint)
        if len(embeddings) != len(labels):
            raise LabelError(f"{len(labels)} labels but {len(embeddings)} embeddings: expected one row per label")
        classifier = cls.__new__(cls)
        classifier.encoder, classifier.labels, classifier.embeddings = encoder, labels, embeddings
        classifier.templates = resolve_templates(templates)
        classifier.threshold = scores.THRESHOLD
        return classifier

    def save(self, path: str | Path) -> None:
        """Save labels, embeddings, templates and threshold as a new LabelStore; no text is encoded.

        Raises:
            LabelError: there is something at `path`.
        """
        from anmok.classify.label_store import LabelStore

        if Path(path).exists():
            raise LabelError(f"{path} is there already: give another name, or change it with LabelStore")
        with LabelStore(path, self.encoder, templates=self.templates) as store:
            store.add(self.labels, embeddings=self.embeddings)
            store.threshold = self.threshold

    def _classified(self, embeddings: Embeddings, top: int, back_off: float | None) -> list[Predictions]:
        results: list[Predictions] = []
        hierarchy = None if back_off is None else self._hierarchy
        step = max(1, CELLS // len(self.labels))
        for start in range(0, len(embeddings), step):
            rows = embeddings[start : start + step]
            cosines = rows @ self.embeddings
            matches = self._background.match_cosines(cosines)
            probabilities = probabilities_of(self.encoder, cosines)
            for row in range(len(rows)):
                of_one = cosines[row], probabilities[row], matches[row]
                results.append(self._predictions(self.labels, *of_one, top=top, back_off=back_off, hierarchy=hierarchy))
        return results

    def labels_named(self, names: Iterable[str]) -> list[Label]:
        """The labels of these names, as far as there are such."""
        wanted = set(names)
        return [label for label in self.labels if label.name in wanted]

    def __len__(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    def probabilities(self, embeddings: Embeddings) -> NDArray[np.float64]:
        """Probability of each label for each picture, [n, m]."""
        return probabilities_of(self.encoder, embeddings @ self.embeddings)

    def matches(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Honest score of each label for each picture, [n, m] in 0..1 (see `anmok.scores`)."""
        return self._background.match(embeddings, self.embeddings)

    @cached_property
    def _hierarchy(self) -> Hierarchy:
        return Hierarchy(self.labels)


def in_order(embeddings: Embeddings, found: list[Predictions]) -> list[Predictions]:
    """The predictions of the pictures that could be encoded, and the errors of the others, as they were given."""
    results = [Predictions() for _ in range(len(embeddings) + len(embeddings.failed))]
    for index, predictions in zip(embeddings.indices, found, strict=True):
        results[index] = predictions
    for failure in embeddings.failed:
        results[failure.index] = Predictions(error=failure.error)
    return results


def probabilities_of(
    encoder: Encoder,
    cosines: NDArray[np.float32],
    others: NDArray[np.float32] | None = None,
    weight: float = 0.0,
) -> NDArray[np.float64]:
    """How probable each of the labels is that a picture was compared with.

    Args:
        encoder: whose scale, bias and kind of score.
        cosines: of pictures and labels, [n, m].
        others: of a sample of further labels, [n, k]; they count in a softmax.
        weight: how many further labels each of them stands for.

    Returns:
        [n, m].
    """

    def logits(cosine: NDArray[np.float32]) -> NDArray[np.float64]:
        return cosine.astype(np.float64) * encoder.logit_scale + encoder.logit_bias

    if encoder.score == "sigmoid":
        sigmoid: NDArray[np.float64] = 0.5 * (1 + np.tanh(logits(cosines) / 2))
        return sigmoid
    highest = logits(cosines).max(axis=1, keepdims=True)
    exponentials = np.exp(logits(cosines) - highest)
    total = exponentials.sum(axis=1, keepdims=True)
    if others is not None and weight:
        total += weight * np.exp(logits(others) - highest).sum(axis=1, keepdims=True)
    softmax: NDArray[np.float64] = exponentials / total
    return softmax
