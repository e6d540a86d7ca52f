"""`evaluate`: everything that can be measured of an encoder on some data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.classify import encode_labels
from anmok.evaluate.data import read_data
from anmok.evaluate.digits import DIGITS, digit_pictures
from anmok.evaluate.encoded import encode_data
from anmok.evaluate.results import Evaluation, Result
from anmok.evaluate.tasks import accuracy, classification, retrieval

if TYPE_CHECKING:
    from pathlib import Path

    from anmok.classify.prompts import Templates
    from anmok.encoder import Encoder

__all__ = ["evaluate", "evaluate_digits"]


def evaluate(encoder: Encoder, data: str | Path, *, templates: Templates = "small") -> Evaluation:
    """Measure zero-shot classification and retrieval.

    Data sets are told apart by their `source`; one with classes is classified (each level of its labels), one
    without is retrieved from text to picture and back, in every language that it has names or captions in.

    Args:
        encoder: from `anmok.load`.
        data: a folder of tar shards or one shard, a folder with a folder per class, or a CSV (see `data.py`).
        templates: for class names (see `Classifier`). Captions are taken as they are.

    Returns:
        An Evaluation; pictures that could not be used are in its `failed`.

    Raises:
        DataError: the data cannot be used.
    """
    sets, failed = encode_data(encoder, read_data(data))
    results: list[Result] = []
    for one in sets:
        results += classification(encoder, one, templates=templates)
        results += retrieval(encoder, one)
    return Evaluation(encoder.name, encoder.fingerprint, tuple(results), tuple(failed))


def evaluate_digits(encoder: Encoder) -> Evaluation:
    """Zero-shot accuracy on scikit-learn's handwritten digits, in English and Korean.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    pictures, digits = digit_pictures()
    embeddings = encoder.encode_image(list(pictures))
    results = [
        result
        for language, labels in DIGITS.items()
        for result in accuracy("digits", embeddings, digits, encode_labels(encoder, labels, ("{}",)), language=language)
    ]
    return Evaluation(encoder.name, encoder.fingerprint, tuple(results))
