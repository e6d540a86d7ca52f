"""Measure an encoder: zero-shot accuracy, retrieval, and whether its scores are honest."""

from anmok.evaluate.data import DataError, Example, read_data
from anmok.evaluate.honesty import evaluate_scores
from anmok.evaluate.results import Evaluation, Result
from anmok.evaluate.run import evaluate, evaluate_digits

__all__ = [
    "DataError",
    "Evaluation",
    "Example",
    "Result",
    "evaluate",
    "evaluate_digits",
    "evaluate_scores",
    "read_data",
]
