"""Classify pictures by labels: zero-shot recognition, label sets, "none of these"."""

from anmok.classify.classifier import Classifier, Prediction, Predictions, Recognizer
from anmok.classify.label_store import LabelStore
from anmok.classify.labels import Label, LabelSet
from anmok.classify.prompts import encode_labels, resolve_templates
from anmok.classify.stored import StoredClassifier, open_classifier

__all__ = [
    "Classifier",
    "Label",
    "LabelSet",
    "LabelStore",
    "Prediction",
    "Predictions",
    "Recognizer",
    "StoredClassifier",
    "encode_labels",
    "open_classifier",
    "resolve_templates",
]
