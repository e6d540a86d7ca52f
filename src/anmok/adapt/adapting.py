"""`adapt`: labelled pictures → a recogniser that is better than words alone, or words alone, and how that is known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from anmok.adapt.advice import USUAL, Advice, Curve, advise, learning_curve
from anmok.adapt.calibration import Calibration, calibration_error, reliability
from anmok.adapt.classifier import AdaptedClassifier, Sense
from anmok.adapt.columns import ColumnEncoder
from anmok.adapt.examples import ExampleError, Examples, Problem
from anmok.adapt.head import Head, softmax
from anmok.adapt.methods import Known, Prompts, ZeroShot
from anmok.adapt.prediction_sets import conformity_scores, in_sets, least_error_rate
from anmok.adapt.probe import ColumnProbe, Probe
from anmok.adapt.strangers import StrangerTest, find_strangers, untested
from anmok.adapt.tip_adapter import TipAdapter, TunedTipAdapter
from anmok.adapt.validation import Checked, Folds, check, choose, deal, learn
from anmok.classify import encode_labels, resolve_templates
from anmok.errors import MissingExtra
from anmok.evaluate.metrics import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from anmok.adapt.methods import Method
    from anmok.classify import LabelSet
    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder

    Array = NDArray[np.float64]

__all__ = ["Adaptation", "Promise", "adapt", "feature_methods", "interval", "label_texts"]

TEMPLATES = ("small", "none", "clip80", "korean")
ERROR_RATES = (0.01, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Promise:
    """Prediction sets at an error rate: how often the right label was in them, and how many labels they had."""

    error_rate: float
    coverage: float
    size: float


@dataclass(frozen=True, eq=False)
class Adaptation:
    """A recogniser, and how it came about.

    `examples` are those that could be used, row by row with `vectors`; `checked` all methods, zero-shot first; `chosen`
    the one that was taken. `probabilities` are the calibrated ones of the examples when they were held out, [n, m],
    calibrated without their own fold too; `raw_error` and `error` are the calibration error of the method's own logits
    and of these.
    """

    classifier: AdaptedClassifier
    examples: Examples
    vectors: Array
    checked: tuple[Checked, ...]
    chosen: Checked
    probabilities: Array
    raw_error: float
    error: float
    promises: tuple[Promise, ...]
    strangers: StrangerTest
    curve: Curve
    advice: tuple[Advice, ...]
    seconds: dict[str, float]

    @property
    def zero_shot(self) -> Checked:
        """Words alone, on the same pictures."""
        return self.checked[0]

    @property
    def reliability(self) -> list[tuple[float, float, int]]:
        """Mean confidence, share right and number of pictures, by group."""
        return reliability(self.probabilities, self.examples.targets)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """How many pictures of a label (row) were taken for another (column) when held out, [m, m]."""
        m = len(self.examples.labels)
        counts = np.bincount(self.examples.targets * m + self.probabilities.argmax(axis=1), minlength=m * m)
        return counts.reshape(m, m).astype(np.int64)

    @property
    def worst(self) -> list[int]:
        """Rows of the pictures that were taken for something else, the surest mistakes first."""
        rows = np.arange(len(self.examples))
        wrong = self.probabilities.argmax(axis=1) != self.examples.targets
        lost = -np.log(np.maximum(self.probabilities[rows, self.examples.targets], 1e-12))
        return [int(row) for row in np.argsort(-lost, kind="stable") if wrong[row]]


def adapt(
    encoder: Encoder,
    examples: Examples,
    *,
    methods: Sequence[Method] | None = None,
    embed: Callable[..., Embeddings] | None = None,
    tune: bool = False,
    folder: Path | None = None,
    seed: int = 0,
) -> Adaptation:
    """Fit a recogniser to labelled pictures.

    Every method is judged on examples that it has not seen, and one is taken only if it is better there than words
    alone, by more than chance would make it; else words alone are.

    Args:
        encoder: from `anmok.load`.
        examples: from `read_examples`. A few of each label already help; with one of each nothing can be checked.
        methods: what is tried beside zero-shot; `feature_methods` unless given.
        embed: stands in for `encoder.encode_image`, such as a cache's.
        tune: also train the words before the labels (CoOp) and the towers (LoRA); takes minutes. Where the towers win,
            the recogniser has an encoder of its own.
        folder: where tuning that was stopped goes on.
        seed: of the folds.

    Raises:
        ExampleError: there is nothing to learn from, once unreadable pictures are left out.
        MissingExtra: tuning needs torch.
    """
    start = time.perf_counter()
    examples, vectors, others, other_vectors = _encode(encoder, examples, embed or encoder.encode_image)
    columns = ColumnEncoder.fit(examples.columns)
    table = columns.encode(examples.columns, len(examples))
    none = (other_vectors, columns.encode(others.columns, len(others))) if len(others) else None
    texts = label_texts(encoder, examples.labels)
    encoded = time.perf_counter()
    known = Known(vectors, table, examples.targets, texts, encoder.logit_scale, examples.labels.names)
    folds = deal(known, seed=seed)
    tried = [ZeroShot(), *(methods if methods is not None else feature_methods(known))]
    towers = None
    if tune:
        tuning = _tuning()
        tried.append(tuning.LearnedPrompts(encoder.checkpoint, seed=seed))
        towers = tuning.TowerTuning(encoder, examples, folder=folder, seed=seed)
    checked = check(tried, known, folds)
    checked += [towers.check(folds.numbers[0])] if towers is not None else []
    chosen = choose([one for one in checked if one.name != ColumnProbe.name])
    judged = time.perf_counter()
    if towers is not None and chosen.way is None:
        encoder = towers.tuned()
        vectors = encoder.encode_image(list(examples.pictures)).vectors.astype(np.float64)
        head = Head.linear(chosen.factor * encoder.logit_scale * towers.words(encoder))
        strangers = untested(chosen.logits[0])
        curve = Curve(((0, checked[0].accuracy), (int(np.median(examples.counts)), chosen.accuracy)), USUAL)
    else:
        head = learn(chosen, known)
        strangers = find_strangers(lambda part: learn(chosen, part), known, folds.numbers[0], none)
        curve = learning_curve(chosen, checked[0], known, folds.numbers[0], seed=seed)
    if towers is not None:
        towers.clear()
    held_out, promises = _held_out(chosen, folds, examples.targets)
    result = Adaptation(
        _classifier(encoder, examples, vectors, head, chosen=chosen, strangers=strangers, columns=columns),
        examples,
        vectors,
        tuple(checked),
        chosen,
        held_out,
        calibration_error(softmax(chosen.logits[0] / chosen.factor), examples.targets),
        calibration_error(held_out, examples.targets),
        promises,
        strangers,
        curve,
        advise(chosen, examples, curve),
        {"encoding": encoded - start, "choosing": judged - encoded, "checking": time.perf_counter() - judged},
    )
    result.classifier.facts = _facts(result)
    return result


def _classifier(
    encoder: Encoder,
    examples: Examples,
    vectors: Array,
    head: Head,
    *,
    chosen: Checked,
    strangers: StrangerTest,
    columns: ColumnEncoder,
) -> AdaptedClassifier:
    """The recogniser: calibrated on what the chosen method said of examples that were held out."""
    logits, targets = np.concatenate(chosen.logits), np.tile(examples.targets, len(chosen.logits))
    calibration = Calibration.fit(logits, targets)
    return AdaptedClassifier(
        encoder,
        examples.labels,
        head,
        calibration=calibration,
        conformity=conformity_scores(calibration.probabilities(chosen.logits[0]), examples.targets),
        sense=Sense(strangers.kind, strangers.threshold, strangers.spread),
        examples=vectors,
        columns=columns,
        owns_encoder=chosen.way is None,
    )


def _tuning() -> ModuleType:
    """The methods that need PyTorch."""
    if find_spec("torch") is None:
        raise MissingExtra("torch", "train", "tuning")
    from anmok.adapt import tuning

    return tuning


def feature_methods(known: Known) -> list[Method]:
    """What is tried on features, beside zero-shot."""
    methods: list[Method] = [Prompts(tuple(known.texts)), TipAdapter(), TunedTipAdapter(), Probe()]
    return [*methods, Probe(columns=True), ColumnProbe()] if known.columns.shape[1] else methods


def interval(checked: Checked) -> tuple[float, float]:
    """95% confidence interval of its accuracy."""
    return wilson(checked.accuracy, len(checked.targets))


def _encode(
    encoder: Encoder, examples: Examples, embed: Callable[..., Embeddings]
) -> tuple[Examples, Array, Examples, Array]:
    """Examples that can be read, those of a label and those of none, each with their vectors."""
    embeddings = embed(list(examples.pictures), on_error="skip")
    failed = [Problem(examples.names[failure.index], failure.error) for failure in embeddings.failed]
    readable = examples.take(embeddings.indices, problems=failed)
    vectors = embeddings.vectors.astype(np.float64)
    rows, others = np.flatnonzero(readable.targets >= 0), np.flatnonzero(readable.targets < 0)
    left = readable.take(rows)
    shown = int((left.counts > 0).sum())
    if shown < 2:
        first = f" The first: {failed[0].name}: {failed[0].reason}" if failed else ""
        raise ExampleError(
            f"only {shown} of the labels has pictures that can be used, expected two or more; "
            f"{len(readable.problems)} pictures were left out.{first}"
        )
    return left, vectors[rows], readable.take(others), vectors[others]


def label_texts(encoder: Encoder, labels: LabelSet) -> dict[str, Array]:
    """Set of templates → the labels in them, unit vectors [m, d]; zero-shot's own comes first."""
    names = [name for label in labels for name in label.texts]
    sets = TEMPLATES if any("가" <= letter <= "힣" for name in names for letter in name) else TEMPLATES[:-1]
    return {name: encode_labels(encoder, labels, resolve_templates(name)).vectors.astype(np.float64) for name in sets}


def _held_out(chosen: Checked, folds: Folds, targets: NDArray[np.int64]) -> tuple[Array, tuple[Promise, ...]]:
    """Probabilities of the first deal, each fold's calibrated on the others, and what prediction sets kept."""
    numbers, logits = folds.numbers[0], chosen.logits[0]
    probabilities = np.empty_like(logits)
    inside = {rate: np.empty(logits.shape, bool) for rate in ERROR_RATES}
    for fold in np.unique(numbers):
        here = numbers == fold
        there = ~here if (~here).any() else here
        calibration = Calibration.fit(logits[there], targets[there])
        probabilities[here] = calibration.probabilities(logits[here])
        scores = conformity_scores(calibration.probabilities(logits[there]), targets[there])
        for rate in ERROR_RATES:
            inside[rate][here] = in_sets(probabilities[here], scores, rate)
    rows = np.arange(len(targets))
    least = least_error_rate(targets[numbers != numbers[0]].astype(np.float64))
    return probabilities, tuple(
        Promise(rate, float(sets[rows, targets].mean()), float(sets.sum(axis=1).mean()))
        for rate, sets in inside.items()
        if rate >= least
    )


def _facts(result: Adaptation) -> dict[str, object]:
    """What is kept with the recogniser of how it was made and checked."""
    from anmok import __version__

    low, high = interval(result.chosen)
    return {
        "anmok": __version__,
        "method": result.chosen.name,
        "setting": result.chosen.setting,
        "examples": len(result.examples),
        "accuracy": round(result.chosen.accuracy, 4),
        "interval": [round(low, 4), round(high, 4)],
        "zero-shot": round(result.zero_shot.accuracy, 4),
        "calibration error": round(result.error, 4),
        "strangers accepted": result.strangers.accepted,
        "left out": [{"picture": problem.name, "reason": problem.reason} for problem in result.examples.problems],
    }
