"""A handful of labelled pictures makes a recogniser theirs.

read_examples(path)            a folder of folders, or a table → Examples
adapt(encoder, examples)       → Adaptation: a recogniser, and how well each way to make it did
AdaptedClassifier.load(folder) a recogniser from its folder
propose(...)                   which pictures to label next
"""

from anmok.adapt.adapting import Adaptation, adapt
from anmok.adapt.classifier import AdaptedClassifier, RecogniserError, is_recogniser
from anmok.adapt.examples import NONE, ExampleError, Examples, read_examples, read_pictures
from anmok.adapt.proposals import propose

__all__ = [
    "NONE",
    "Adaptation",
    "AdaptedClassifier",
    "ExampleError",
    "Examples",
    "RecogniserError",
    "adapt",
    "is_recogniser",
    "propose",
    "read_examples",
    "read_pictures",
]
