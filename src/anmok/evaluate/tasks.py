"""Zero-shot classification and retrieval of encoded data sets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.classify import Label, encode_labels, resolve_templates
from anmok.evaluate.data import LANGUAGES, Example
from anmok.evaluate.metrics import hits_at, recall_chance, wilson
from anmok.evaluate.results import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from anmok.classify.prompts import Templates
    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder
    from anmok.evaluate.encoded import DataSet

__all__ = ["accuracy", "class_names", "classification", "levels", "retrieval", "share"]


def levels(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Class of every example, level by level (fine, coarse, …); only levels that have classes of several pictures.

    A set whose labels are all different (names of emoji) has no classes: it is retrieval.
    """
    depth = min((len(example.labels) for example in examples), default=0)
    columns = [tuple(example.labels[level] for example in examples) for level in range(depth)]
    return [column for column in columns if 1 < len(set(column)) < len(column)]


def class_names(
    examples: Sequence[Example], classes: Sequence[str], language: str, *, widest: bool = False
) -> dict[str, str] | None:
    """A natural name for each class, in order of the classes.

    A class goes by the first caption that most of its pictures carry ("a pair of shorts" for `shorts`). A
    coarse class (`widest`) goes by its label in lower case, and in Korean by the shortest caption that any of
    its pictures carries. Without captions English falls back to the label; Korean has no names.

    Returns:
        Class → name, or None where a class has no name in that language.
    """
    texts: dict[str, Counter[str]] = {name: Counter() for name in sorted(set(classes))}
    for example, name in zip(examples, classes, strict=True):
        captions = example.caption(language)
        texts[name].update(captions if widest else captions[:1])
    names: dict[str, str] = {}
    for name, counts in texts.items():
        if language == "en" and (widest or not counts):
            names[name] = name.replace("-", " ").replace("_", " ").lower()
        elif not counts:
            return None
        elif widest:
            names[name] = min(counts, key=lambda text: (len(text), -counts[text], text))
        else:
            names[name] = max(counts, key=lambda text: (counts[text], text))
    return names


def classification(encoder: Encoder, data: DataSet, *, templates: Templates = "small") -> Iterator[Result]:
    """Zero-shot accuracy of a data set with classes: every level, every language that names all classes."""
    columns = levels(data.examples)
    for level, classes in enumerate(columns):
        name = data.name if len(columns) == 1 else f"{data.name} {('fine', 'coarse')[level] if level < 2 else level}"
        for language in LANGUAGES:
            names = class_names(data.examples, classes, language, widest=level > 0)
            if names is None:
                continue
            numbers = {item: index for index, item in enumerate(names)}
            target = np.array([numbers[item] for item in classes])
            labels = encode_labels(encoder, [Label(text) for text in names.values()], resolve_templates(templates))
            yield from accuracy(name, data.embeddings, target, labels, language=language)


def accuracy(
    name: str, pictures: Embeddings, target: NDArray[np.int64], labels: Embeddings, *, language: str
) -> Iterator[Result]:
    """Share of pictures whose class is the nearest label; with more than ten classes also among the nearest five.

    Args:
        name: of the data.
        pictures: [n, d].
        target: class of each picture, [n].
        labels: one per class, [m, d].
        language: of the labels.
    """
    cosines = pictures @ labels
    relevant = target[:, None] == np.arange(len(labels))[None, :]
    for k in (1, 5) if len(labels) > 10 else (1,):
        hits = hits_at(cosines, relevant, k)
        per_class = [float(hits[target == index].mean()) for index in np.unique(target)]
        details = {"classes": len(labels), "mean over classes": float(np.mean(per_class))}
        yield share(name, f"accuracy@{k}", hits, recall_chance(relevant, k), language=language, details=details)


def retrieval(encoder: Encoder, data: DataSet) -> Iterator[Result]:
    """Recall of a data set without classes, from text to picture and back: every language that all pictures have.

    The text of a picture is its first caption. Pictures of the same text are all right answers to it.
    """
    if levels(data.examples):
        return
    for language in LANGUAGES:
        texts = [example.caption(language)[:1] for example in data.examples]
        if not all(texts):
            continue
        queries = [text[0] for text in texts]
        scores = encoder.encode_text(queries) @ data.embeddings
        _, number = np.unique(queries, return_inverse=True)
        relevant = number[:, None] == number[None, :]
        for direction, table in (("text to picture", scores), ("picture to text", scores.T)):
            for k in (1, 5, 10):
                metric = f"{direction} recall@{k}"
                yield share(
                    data.name, metric, hits_at(table, relevant, k), recall_chance(relevant, k), language=language
                )


def share(
    name: str,
    metric: str,
    hits: NDArray[np.float64],
    chance: float,
    *,
    language: str,
    details: dict[str, Any] | None = None,
) -> Result:
    """The mean of `hits` as a Result, with Wilson's interval."""
    value = float(hits.mean())
    low, high = wilson(value, len(hits))
    return Result(name, metric, value, len(hits), chance, low, high, language, details or {})
