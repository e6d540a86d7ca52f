"""Are scores honest? Whether one cutoff tells what is there from what is not, over all queries at once.

Questions, each asked of every data set with names (classes, names of emoji), in English and Korean:

    pairs           every picture with every name; is it the name of its class?
    search          half of the classes are taken out of the collection, then every class is searched;
                    the score of a query is that of its best picture
    search in 10    the same in collections of ten pictures
    strangers       the same collection; what is absent are the names of other data sets
    none of these   a classifier is given half of the classes and shown pictures of all;
                    the score of a picture is that of its best label
    foreigners      the same classifier; what is absent are the pictures of other data sets

Scores are pooled over data sets, languages and draws before they are cut, so a score that means
something else for each query or data set loses, however well it ranks within one. (Draws overlap and a class
has several pictures, so the confidence intervals are somewhat too narrow.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import scores
from anmok.classify import Label, encode_labels, resolve_templates
from anmok.embeddings import Embeddings
from anmok.evaluate.data import LANGUAGES, read_data
from anmok.evaluate.encoded import DataSet, encode_data
from anmok.evaluate.metrics import auroc, auroc_interval, false_positive_rate, wilson
from anmok.evaluate.results import Evaluation, Result
from anmok.evaluate.tasks import class_names, levels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.classify.prompts import Templates
    from anmok.encoder import Encoder

    Scores = NDArray[np.floating]
    Pooled = dict[str, tuple[list[Scores], list[Scores]]]  # question → scores of what is there, of what is not

__all__ = ["METHODS", "evaluate_scores"]

DRAWS = 4  # halves per data set and language
FOUND = 0.8  # share of what is there that the cutoff must find, for the rate of false alarms


@dataclass(frozen=True)
class Case:
    """What a method may look at: pictures to score [n, d], texts [m, d], the background, the collection [c, d]."""

    pictures: Embeddings
    texts: Embeddings
    background: scores.Background
    collection: Embeddings | None
    logit_scale: float


def cosine(case: Case) -> Scores:
    """What every peer shows."""
    return case.pictures @ case.texts


def deviations_from_texts(case: Case) -> Scores:
    """Standard deviations above what the picture gets from the background's texts."""
    null = case.pictures @ case.background.texts
    deviations: Scores = (cosine(case) - null.mean(axis=1, keepdims=True)) / _spread(null, axis=1)
    return deviations


def deviations_from_pictures(case: Case) -> Scores:
    """Standard deviations above what the text gets from the collection."""
    if case.collection is None:
        return cosine(case)
    null = case.collection @ case.texts
    deviations: Scores = (cosine(case) - null.mean(axis=0)) / _spread(null, axis=0)
    return deviations


def csls(case: Case) -> Scores:
    """Twice the cosine less the mean of the ten nearest, among texts and in the collection (arXiv 1710.04087)."""
    nearest = np.sort(case.pictures @ case.background.texts, axis=1)[:, -10:].mean(axis=1, keepdims=True)
    others = 0.0 if case.collection is None else np.sort(case.collection @ case.texts, axis=0)[-10:].mean(axis=0)
    beyond: Scores = 2 * cosine(case) - nearest - others
    return beyond


def dual_softmax(case: Case) -> Scores:
    """Log of the softmax over texts times the softmax over the collection (arXiv 2109.04290)."""
    logits = case.logit_scale * cosine(case)
    over_texts = _log_sum(case.logit_scale * (case.pictures @ case.background.texts), axis=1)
    if case.collection is None:
        return logits - over_texts
    return 2 * logits - over_texts - _log_sum(case.logit_scale * (case.collection @ case.texts), axis=0)


def match(case: Case) -> Scores:
    """`anmok.scores`: what classify and search show."""
    return case.background.match(case.pictures, case.texts)


METHODS: dict[str, Callable[[Case], Scores]] = {
    "cosine": cosine,
    "z over texts": deviations_from_texts,
    "z over pictures": deviations_from_pictures,
    "CSLS": csls,
    "dual softmax": dual_softmax,
    "match": match,
}


def evaluate_scores(encoder: Encoder, data: str | Path, *, templates: Templates = "small") -> Evaluation:
    """Measure how well one cutoff serves all queries, for each of METHODS.

    Returns:
        An Evaluation: per question and method the AUROC of present against absent, and the share of absent ones
        that a cutoff lets through which finds 80% of the present ones; for `match` also what its fixed threshold
        finds and lets through.

    Raises:
        DataError: the data cannot be used.
    """
    sets, failed = encode_data(encoder, read_data(data))
    background = scores.background(encoder)
    named = list(_named(encoder, sets, templates))
    pooled: dict[str, Pooled] = {method: {} for method in METHODS}
    for number, one in enumerate(named):
        strangers = [other for other in named if not one.labels & other.labels and other.language == one.language]
        for question, case, there, pick in _cases(one, strangers, background, encoder.logit_scale, number):
            for method, score in METHODS.items():
                values = score(case)
                best = values.ravel() if pick is None else values.max(axis=pick)
                positive, negative = pooled[method].setdefault(question, ([], []))
                positive.append(best[there.ravel()])
                negative.append(best[~there.ravel()])
    results = [result for method in METHODS for result in _results(method, pooled[method])]
    return Evaluation(encoder.name, encoder.fingerprint, tuple(results), tuple(failed))


@dataclass(frozen=True)
class Named:
    """A data set whose pictures have names: class of each picture [n], text of each class [m, d]."""

    pictures: Embeddings
    classes: NDArray[np.int64]
    texts: Embeddings
    labels: frozenset[str]
    language: str


def _named(encoder: Encoder, sets: list[DataSet], templates: Templates) -> Iterator[Named]:
    for one in sets:
        columns = levels(one.examples)
        if not columns and all(example.labels for example in one.examples):
            columns = [tuple(example.labels[0] for example in one.examples)]
        every = frozenset(label.lower() for example in one.examples for label in example.labels)
        for level, classes in enumerate(columns):
            for language in LANGUAGES:
                names = class_names(one.examples, classes, language, widest=level > 0)
                if names is None or len(names) < 4:
                    continue
                order = {name: index for index, name in enumerate(names)}
                texts = encode_labels(encoder, map(Label, names.values()), resolve_templates(templates))
                yield Named(one.embeddings, np.array([order[item] for item in classes]), texts, every, language)


def _cases(
    one: Named, strangers: list[Named], background: scores.Background, logit_scale: float, seed: int
) -> Iterator[tuple[str, Case, NDArray[np.bool_], int | None]]:
    """The questions: name, case, what is there, and the axis that the best is taken over."""
    pictures, texts, classes = one.pictures, one.texts, one.classes
    numbers = np.arange(len(texts))

    def case(scored: Embeddings, asked: Embeddings, collection: Embeddings | None) -> Case:
        return Case(scored, asked, background, collection, logit_scale)

    yield "pairs", case(pictures, texts, pictures), classes[:, None] == numbers, None
    for draw in range(DRAWS):
        random = np.random.default_rng([seed, draw])
        kept = np.isin(numbers, random.permutation(numbers)[: len(numbers) // 2])
        collection = pictures[np.flatnonzero(kept[classes])]
        yield "search", case(collection, texts, collection), kept, 0
        few = random.permutation(np.flatnonzero(kept[classes]))[:10]
        present = np.isin(numbers, classes[few])
        asked = np.flatnonzero(present | ~kept)
        yield "search in 10", case(pictures[few], texts[asked], pictures[few]), present[asked], 0
        inside = texts[np.flatnonzero(kept)]
        if strangers:
            every = Embeddings.concatenate([inside, *(other.texts for other in strangers)])
            yield "strangers", case(collection, every, collection), np.arange(len(every)) < len(inside), 0
        yield "none of these", case(pictures, inside, None), kept[classes], 1
        if strangers:
            foreign = {id(other.pictures): other.pictures for other in strangers}  # once, though in several levels
            every = Embeddings.concatenate([collection, *foreign.values()])
            yield "foreigners", case(every, inside, None), np.arange(len(every)) < len(collection), 1


def _results(method: str, pooled: Pooled) -> Iterator[Result]:
    for question, parts in pooled.items():
        there, absent = (np.concatenate(part) for part in parts)
        n = len(there) + len(absent)
        details = {"present": len(there), "absent": len(absent)}
        area = auroc(there, absent)
        low, high = auroc_interval(area, len(there), len(absent))
        yield Result(f"{question}: {method}", "AUROC", area, n, 0.5, low, high, details=details)
        rate = false_positive_rate(there, absent, found=FOUND)
        low, high = wilson(rate, len(absent))
        yield Result(f"{question}: {method}", f"false alarms at {FOUND:.0%} found", rate, len(absent), FOUND, low, high)
        if method == "match":
            for metric, part in (("found", there), ("false alarms", absent)):
                share = float((part >= scores.THRESHOLD).mean())
                low, high = wilson(share, len(part))
                yield Result(f"{question}: {method}", f"{metric} at the threshold", share, len(part), 0.5, low, high)


def _spread(values: Scores, axis: int) -> Scores:
    spread: Scores = np.maximum(values.std(axis=axis, keepdims=True), 1e-6)
    return spread


def _log_sum(values: Scores, axis: int) -> Scores:
    highest = values.max(axis=axis, keepdims=True)
    total: Scores = highest + np.log(np.exp(values - highest).sum(axis=axis, keepdims=True))
    return total
