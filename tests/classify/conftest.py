"""A fake encoder whose space is known exactly: a text or picture means the word it holds."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from anmok.embeddings import Embeddings, Failure, unit
from anmok.errors import PictureError

WORDS = ("cat", "dog", "tabby", "poodle", "car", "truck", "고양이", "개")


class FakeEncoder:
    """A picture is bytes, or a file, that hold the word it shows; "broken" is a bad picture.

    Each of WORDS has an axis of its own; "고양이" and "개" are near "cat" and "dog". Any other text lies in a
    random direction of the remaining ones, fixed by its letters.
    """

    name = "fake"
    dimension = 64

    def __init__(self, score="softmax", logit_scale=10.0, logit_bias=0.0, fingerprint="f" * 16):
        self.score, self.logit_scale, self.logit_bias, self.fingerprint = score, logit_scale, logit_bias, fingerprint
        self.encoded_texts: list[str] = []

    @staticmethod
    @cache
    def meaning(text: str) -> np.ndarray:
        for index, word in enumerate(WORDS):
            if word in text:
                vector = np.zeros(FakeEncoder.dimension)
                vector[index] = 1.0
                if word in ("고양이", "개"):
                    vector[WORDS.index("cat" if word == "고양이" else "dog")] = 1.0
                return vector
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        vector = np.random.default_rng(seed).normal(size=FakeEncoder.dimension)
        vector[: len(WORDS)] = 0
        return vector

    def reads(self, texts) -> bool:
        return True

    def encode_text(self, texts):
        texts = [texts] if isinstance(texts, str) else list(texts)
        self.encoded_texts += texts
        vectors = np.array([self.meaning(text) for text in texts]).reshape(-1, self.dimension)
        return Embeddings(unit(vectors), self.fingerprint)

    def encode_image(self, pictures, *, on_error="raise", batch_size=32):
        pictures = [pictures] if isinstance(pictures, (str, bytes, Path)) else list(pictures)
        rows, indices, failed = [], [], []
        for index, picture in enumerate(pictures):
            if isinstance(picture, np.ndarray):
                rows.append(self.meaning(f"background {picture.tobytes()[:48].hex()}"))
                indices.append(index)
                continue
            text = picture.decode() if isinstance(picture, bytes) else Path(picture).read_text(encoding="utf-8")
            if "broken" in text:
                if on_error == "raise":
                    raise PictureError(f"picture {index}", "is broken")
                failed.append(Failure(index, f"picture {index}", "is broken"))
                continue
            rows.append(self.meaning(text))
            indices.append(index)
        vectors = unit(np.array(rows).reshape(-1, self.dimension))
        return Embeddings(vectors, self.fingerprint, np.array(indices, np.int64), tuple(failed))


@pytest.fixture
def make_encoder():
    return FakeEncoder


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is cached outside the test."""
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
