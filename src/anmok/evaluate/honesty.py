"""Are scores honest? Whether one cutoff tells what is there from what is not, over all queries at once.

Three questions, each asked of every data set with names (classes, names of emoji), in English and Korean:

    search          half of the classes are taken out of the collection, then every class is searched;
                    the score of a query is that of its best picture
    search in 10    the same in collections of ten pictures
    none of these   a classifier is given half of the classes and shown pictures of all;
                    the score of a picture is that of its best label

Scores are pooled over data sets, languages and draws before they are cut, so a score that means
something else for each query or data set loses, however well it ranks within one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import scores
from anmok.classify import Label, encode_labels, resolve_templates
from anmok.embeddings import Embeddings
from anmok.evaluate.data import LANGUAGES, read_data
from anmok.evaluate.encoded import DataSet, encode_data
from anmok.evaluate.metrics import auroc, bootstrap, false_positive_rate, wilson
from anmok.evaluate.results import Evaluation, Result
from anmok.evaluate.tasks import class_names, levels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.encoder import Encoder

    Scores = NDArray[np.floating]
    Pooled = dict[str, tuple[list[Scores], list[Scores]]]  # question → scores of what is there, of what is not

__all__ = ["METHODS", "evaluate_scores"]

DRAWS = 4  # halves per data set and language
FOUND = 0.8  # share of what is there that the cutoff must find, for the rate of false alarms


@dataclass(frozen=True)
class Case:
    """What a method may look at: pictures to score [n, d], texts [m, d], competing texts, the collection."""

    pictures: Embeddings
    texts: Embeddings
    background: Embeddings
    others: Embeddings | None


def _cosine(case: Case) -> Scores:
    return case.pictures @ case.texts


def _match(case: Case) -> Scores:
    return scores.match(case.pictures, case.texts, background=case.background, others=case.others)


METHODS: dict[str, Callable[[Case], Scores]] = {"cosine": _cosine, "match": _match}


def evaluate_scores(encoder: Encoder, data: str | Path, *, templates: str = "small") -> Evaluation:
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
    pooled: dict[str, Pooled] = {method: {} for method in METHODS}
    for number, (one, classes, texts) in enumerate(_named(encoder, sets, templates)):
        for draw in range(DRAWS):
            random = np.random.default_rng([number, draw])
            for question, case, there, pick in _cases(one, classes, texts, background, random):
                for method, score in METHODS.items():
                    best = score(case).max(axis=pick)
                    positive, negative = pooled[method].setdefault(question, ([], []))
                    positive.append(best[there])
                    negative.append(best[~there])
    results = [result for method in METHODS for result in _results(method, pooled[method])]
    return Evaluation(encoder.name, encoder.fingerprint, tuple(results), tuple(failed))


def _named(
    encoder: Encoder, sets: list[DataSet], templates: str
) -> Iterator[tuple[DataSet, NDArray[np.int64], Embeddings]]:
    """Each data set with names: the class of each picture as a number, and the classes' texts, per language."""
    for one in sets:
        columns = levels(one.examples)
        if not columns and all(example.labels for example in one.examples):
            columns = [tuple(example.labels[0] for example in one.examples)]
        for level, classes in enumerate(columns):
            for language in LANGUAGES:
                names = class_names(one.examples, classes, language, widest=level > 0)
                if names is None or len(names) < 4:
                    continue
                order = {name: index for index, name in enumerate(names)}
                labels = [Label(text) for text in names.values()]
                texts = encode_labels(encoder, labels, resolve_templates(templates))
                yield one, np.array([order[item] for item in classes]), texts


def _cases(
    one: DataSet,
    classes: NDArray[np.int64],
    texts: Embeddings,
    background: Embeddings,
    random: np.random.Generator,
) -> Iterator[tuple[str, Case, NDArray[np.bool_], int]]:
    """The three questions of one draw: name, case, what is there, and the axis that the best is taken over."""
    kept = np.zeros(len(texts), bool)
    kept[random.permutation(len(texts))[: len(texts) // 2]] = True
    collection = one.embeddings[np.flatnonzero(kept[classes])]
    yield "search", Case(collection, texts, background, collection), kept, 0
    few = random.permutation(np.flatnonzero(kept[classes]))[:10]
    present = np.isin(np.arange(len(texts)), classes[few])
    asked = np.flatnonzero(present | ~kept)
    small = one.embeddings[few]
    yield "search in 10", Case(small, texts[asked], background, small), present[asked], 0
    yield "none of these", Case(one.embeddings, texts[np.flatnonzero(kept)], background, None), kept[classes], 1


def _results(method: str, pooled: Pooled) -> Iterator[Result]:
    for question, parts in pooled.items():
        there, absent = (np.concatenate(part) for part in parts)
        n = len(there) + len(absent)
        details = {"present": len(there), "absent": len(absent)}
        low, high = bootstrap(there, absent)
        yield Result(f"{question}: {method}", "AUROC", auroc(there, absent), n, 0.5, low, high, details=details)
        rate = false_positive_rate(there, absent, found=FOUND)
        low, high = wilson(rate, len(absent))
        yield Result(f"{question}: {method}", f"false alarms at {FOUND:.0%} found", rate, n, FOUND, low, high)
        if method == "match":
            for metric, part in (("found", there), ("false alarms", absent)):
                share = float((part >= scores.THRESHOLD).mean())
                low, high = wilson(share, len(part))
                yield Result(f"{question}: {method}", f"{metric} at the threshold", share, len(part), 0.5, low, high)
