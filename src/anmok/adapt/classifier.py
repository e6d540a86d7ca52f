"""A recogniser that was adapted: a folder of a few kilobytes that classifies.

recogniser.json        what it is made of: encoder, labels, method, calibration, thresholds, how it was checked
arrays.safetensors     the head, and what the thresholds need
encoder/               only where the towers were changed
README.md, report.html a card, and the report
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anmok.adapt.calibration import Calibration
from anmok.adapt.columns import ColumnEncoder
from anmok.adapt.head import Head
from anmok.adapt.prediction_sets import in_sets
from anmok.adapt.strangers import familiarity
from anmok.classify import Label, LabelSet, Recognizer
from anmok.classify.classifier import in_order
from anmok.classify.hierarchy import Hierarchy
from anmok.errors import AnmokError, FingerprintMismatch, LabelError
from anmok.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from anmok.classify.classifier import Pictures, Predictions
    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder

    Array = NDArray[np.float64]
    Table = Mapping[str, Sequence[str]]

__all__ = ["AdaptedClassifier", "RecogniserError", "Sense", "is_recogniser"]

FACTS, ARRAYS, ENCODER = "recogniser.json", "arrays.safetensors", "encoder"
FORMAT = 1
SLOPE = 4.0  # of `match` around the threshold, per spread


class RecogniserError(AnmokError):
    """A recogniser cannot be read or written."""


@dataclass(frozen=True)
class Sense:
    """How strangers are told (see `strangers`): by what, from where on, and the spread of what is familiar."""

    kind: str
    threshold: float
    spread: float


class AdaptedClassifier(Recognizer):
    """Recognises the labels that it was adapted to. Made by `adapt`, or loaded from its folder.

    A `Prediction` of it holds the calibrated probability, as `score` the logit, and as `match` how familiar the picture
    is for the best label, 0.5 at the threshold, less for the others as they are less probable.
    """

    def __init__(
        self,
        encoder: Encoder,
        labels: LabelSet,
        head: Head,
        *,
        calibration: Calibration,
        conformity: Array,
        sense: Sense,
        examples: Array | None = None,
        columns: ColumnEncoder | None = None,
        facts: Mapping[str, Any] | None = None,
        owns_encoder: bool = False,
    ) -> None:
        self.encoder, self.labels, self.head = encoder, labels, head
        self.calibration, self.conformity, self.sense = calibration, conformity, sense
        self.examples = np.empty((0, encoder.dimension)) if examples is None else examples
        self.columns = columns or ColumnEncoder({}, {})
        self.facts = dict(facts or {})  # how it was made and checked, for people
        self.owns_encoder = owns_encoder  # whether the encoder was tuned for it, and is kept with it
        self.threshold = 0.5  # on `match`

    # --- recognising

    def classify(
        self,
        pictures: Pictures,
        *,
        top: int = 5,
        on_error: Literal["raise", "skip"] = "raise",
        back_off: float | None = None,
        columns: Table | None = None,
        error_rate: float | None = None,
    ) -> list[Predictions]:
        """As `Recognizer.classify`.

        Args:
            pictures: what `Encoder.encode_image` takes.
            top: how many predictions per picture.
            on_error: "skip" gives a bad picture an empty list with its `error` set; "raise" raises.
            back_off: see `Recognizer.classify`.
            columns: name → a cell for each picture, for a recogniser that was adapted with columns; what is not given
                is missing.
            error_rate: answer with the smallest set of labels that holds the right one with all but this share of
                pictures, in place of the `top` best.

        Raises:
            PictureError: a picture cannot be used (with on_error="raise").
            SettingsError: the error rate is not between 0 and 1.
        """
        embeddings = self.encoder.encode_image(pictures, on_error=on_error)
        table = {name: [cells[row] for row in embeddings.indices] for name, cells in (columns or {}).items()}
        found = self.classify_embeddings(embeddings, top=top, back_off=back_off, columns=table, error_rate=error_rate)
        return in_order(embeddings, found)

    def classify_embeddings(
        self,
        embeddings: Embeddings,
        *,
        top: int = 5,
        back_off: float | None = None,
        columns: Table | None = None,
        error_rate: float | None = None,
    ) -> list[Predictions]:
        """As `classify`, for pictures that are encoded already; a cell of `columns` for each row.

        Raises:
            FingerprintMismatch: they were encoded by another encoder.
            LabelError: `top` is less than 1.
        """
        if top < 1:
            raise LabelError(f"top is {top}, expected 1 or more")
        return self._answers(embeddings, top, back_off, columns or {}, error_rate)

    def _answers(
        self, embeddings: Embeddings, top: int, back_off: float | None, table: Table, error_rate: float | None
    ) -> list[Predictions]:
        embeddings.require(self.encoder.fingerprint)
        vectors = embeddings.vectors.astype(np.float64)
        if not len(vectors):
            return []
        logits = self.head.logits(vectors, self.columns.encode(table, len(vectors)))
        probabilities = self.calibration.probabilities(logits)
        familiar = familiarity(self.sense.kind, logits, vectors, self.examples)
        fits = 0.5 * (1 + np.tanh(SLOPE / 2 * (familiar - self.sense.threshold) / self.sense.spread))
        matches = fits[:, None] * probabilities / probabilities.max(axis=1, keepdims=True)
        sizes = np.full(len(logits), top)
        if error_rate is not None:
            sizes = in_sets(probabilities, self.conformity, error_rate).sum(axis=1)
        hierarchy = None if back_off is None else self._hierarchy
        return [
            self._predictions(
                self.labels, logits[row].astype(np.float32), probabilities[row], matches[row].astype(np.float32),
                top=int(sizes[row]), back_off=back_off, hierarchy=hierarchy,
            )
            for row in range(len(logits))
        ]  # fmt: skip

    def probabilities(self, embeddings: Embeddings, columns: Table | None = None) -> Array:
        """Calibrated probability of each label for each picture, [n, m].

        Raises:
            FingerprintMismatch: the pictures were encoded by another encoder.
        """
        embeddings.require(self.encoder.fingerprint)
        table = self.columns.encode(columns or {}, len(embeddings))
        return self.calibration.probabilities(self.head.logits(embeddings.vectors.astype(np.float64), table))

    def labels_named(self, names: Iterable[str]) -> list[Label]:
        """The labels of these names, as far as there are such."""
        wanted = set(names)
        return [label for label in self.labels if label.name in wanted]

    def __len__(self) -> int:
        """How many labels there are."""
        return len(self.labels)

    @cached_property
    def _hierarchy(self) -> Hierarchy:
        return Hierarchy(self.labels)

    # --- on disk

    def save(self, folder: str | Path) -> None:
        """Write it to a folder; what is there of an earlier one is replaced, arrays last but the facts.

        Raises:
            RecogniserError: the folder cannot be written.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        shutil.rmtree(folder / ENCODER, ignore_errors=True)  # of an earlier recogniser
        fingerprint = self._saved_encoder(folder / ENCODER) if self.owns_encoder else self.encoder.fingerprint
        arrays = {f"head.{name}": array.astype(np.float32) for name, array in self.head.arrays.items()}
        arrays |= {
            "calibration.x": self.calibration.curve_x.astype(np.float32),
            "calibration.y": self.calibration.curve_y.astype(np.float32),
            "conformity": self.conformity.astype(np.float32),
        }
        if self.sense.kind == "nearness":
            arrays["examples"] = self.examples.astype(np.float16)
        arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array.size}
        content = save(arrays)
        described = {
            "format": FORMAT,
            "encoder": {"name": self.encoder.name, "fingerprint": fingerprint, "own": self.owns_encoder},
            "labels": [asdict(label) for label in self.labels],
            "head": {"strength": self.head.strength, "sharpness": self.head.sharpness},
            "calibration": {"kind": self.calibration.kind, "factor": self.calibration.factor},
            "sense": asdict(self.sense),
            "threshold": self.threshold,
            "columns": self.columns.describe(),
            "arrays": _digest(content),
            "facts": self.facts,
        }
        try:
            write_whole(folder / ARRAYS, content)
            write_whole(folder / FACTS, json.dumps(described, ensure_ascii=False, indent=1).encode())
        except OSError as error:
            raise RecogniserError(f"{folder}: cannot be written: {error.strerror or error}") from error

    def _saved_encoder(self, folder: Path) -> str:
        """Keep the encoder. Its fingerprint as it will be loaded: layouts word the transform otherwise."""
        from anmok.checkpoints import load_checkpoint
        from anmok.loading import save

        save(self.encoder, folder)
        return load_checkpoint(folder).fingerprint

    @staticmethod
    def describe(folder: str | Path) -> dict[str, Any]:
        """What `recogniser.json` of a folder says, without opening the encoder.

        Raises:
            RecogniserError: there is none, or it is damaged.
        """
        return _read(Path(folder))[0]

    @classmethod
    def load(cls, folder: str | Path, encoder: Encoder | None = None) -> AdaptedClassifier:
        """Read it from its folder.

        Args:
            folder: what `save` wrote.
            encoder: what it was adapted with; loaded by its name unless given.

        Raises:
            RecogniserError: there is none, or it is damaged.
            FingerprintMismatch: the encoder is another one.
        """
        folder = Path(folder)
        described, arrays = _read(folder)
        named = described["encoder"]
        if encoder is None:
            from anmok.loading import load

            encoder = load(folder / ENCODER if named["own"] else named["name"])
        if encoder.fingerprint != named["fingerprint"]:
            raise FingerprintMismatch(
                f"{folder} was adapted with {named['name']} (fingerprint {named['fingerprint']}), not with "
                f"{encoder.name} ({encoder.fingerprint}): load that one, or adapt anew"
            )
        try:
            return cls._from(encoder, described, arrays)
        except (KeyError, TypeError, ValueError, LabelError) as error:
            raise RecogniserError(f"{folder}: it is damaged ({type(error).__name__}: {error}): adapt anew") from error

    @classmethod
    def _from(cls, encoder: Encoder, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> AdaptedClassifier:
        head = {name.removeprefix("head."): array for name, array in arrays.items() if name.startswith("head.")}
        labels = LabelSet(
            [Label(one["name"], tuple(one["synonyms"]), one["ko"], one["parent"]) for one in described["labels"]]
        )
        if head["weights"].shape != (len(labels), encoder.dimension):
            raise ValueError(f"weights of shape {head['weights'].shape} for {len(labels)} labels")
        empty = np.empty(0, np.float32)
        curve = (arrays.get(f"calibration.{axis}", empty).astype(np.float64) for axis in "xy")
        factor = float(described["calibration"]["factor"])
        classifier = cls(
            encoder,
            labels,
            Head.from_arrays(head, **described["head"]),
            calibration=Calibration(factor, *curve),
            conformity=arrays.get("conformity", empty).astype(np.float64),
            sense=Sense(**described["sense"]),
            examples=arrays["examples"].astype(np.float64) if "examples" in arrays else None,
            columns=ColumnEncoder.from_description(described["columns"]),
            facts=described["facts"],
        )
        classifier.threshold = float(described["threshold"])
        return classifier


def is_recogniser(folder: str | Path) -> bool:
    """Whether a folder holds an adapted recogniser."""
    return (Path(folder) / FACTS).is_file()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not folder.is_dir() or not (folder / FACTS).is_file():
        raise RecogniserError(f"{folder}: there is no recogniser here (no {FACTS}); anmok adapt makes one")
    try:
        described = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        content = (folder / ARRAYS).read_bytes()
        arrays = load(content)
        known, digest = described["format"], described["arrays"]
        described["encoder"]["fingerprint"], described["encoder"]["own"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RecogniserError(f"{folder}: it is damaged ({type(error).__name__}: {error}): adapt anew") from error
    if known > FORMAT:
        raise RecogniserError(f"{folder}: a newer anmok wrote it (format {known}, here {FORMAT}): update anmok")
    if digest != _digest(content):
        raise RecogniserError(f"{folder}: {ARRAYS} and {FACTS} do not belong together: adapt anew")
    return described, arrays


def _digest(content: bytes) -> str:
    from hashlib import blake2b

    return blake2b(content, digest_size=8).hexdigest()
