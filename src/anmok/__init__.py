"""anmok (안목, "an eye for things"): pictures and words in one space, on an ordinary processor.

    >>> import anmok
    >>> encoder = anmok.load("anmok-mini")
    >>> encoder.encode_text(["a red bag", "빨간 가방"]).vectors.shape
    (2, 256)

Everything below is public; names that are not listed may change. Importing this package
loads neither NumPy nor an engine: each name brings what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from anmok.errors import AnmokError, FingerprintMismatch, PictureError

if TYPE_CHECKING:
    from anmok.classify import Classifier, Prediction
    from anmok.collections import Collection, Hit
    from anmok.embeddings import Embeddings
    from anmok.encoder import Encoder
    from anmok.loading import load, load_model, save

__version__ = "0.1.0"

__all__ = [
    "AnmokError",
    "Classifier",
    "Collection",
    "Embeddings",
    "Encoder",
    "FingerprintMismatch",
    "Hit",
    "PictureError",
    "Prediction",
    "__version__",
    "load",
    "load_model",
    "save",
]

_HOMES = {
    "Classifier": "anmok.classify",
    "Prediction": "anmok.classify",
    "Collection": "anmok.collections",
    "Hit": "anmok.collections",
    "Embeddings": "anmok.embeddings",
    "Encoder": "anmok.encoder",
    "load": "anmok.loading",
    "load_model": "anmok.loading",
    "save": "anmok.loading",
}


def __getattr__(name: str) -> Any:
    """Bring a public name from its room when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'anmok' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
