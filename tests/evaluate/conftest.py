"""A fake encoder whose scores are known exactly, and tiny tar shards for it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from anmok.embeddings import Embeddings, Failure, unit
from anmok.errors import PictureError


class FakeEncoder:
    """A picture is bytes, or a file, that hold its caption: equal texts get equal vectors, others random ones.

    `blind` gives everything the same vector: such an encoder reaches exactly chance.
    """

    name = "fake"
    fingerprint = "f" * 16
    dimension = 64
    score = "softmax"
    logit_scale = 10.0
    logit_bias = 0.0

    def __init__(self, *, blind=False):
        self.blind = blind

    def vector(self, text):
        if self.blind:  # all cosines are exactly 1, in whatever order a processor sums
            return np.eye(self.dimension)[0]
        return self.direction(text)

    @staticmethod
    @cache
    def direction(text):
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
        return np.random.default_rng(seed).normal(size=FakeEncoder.dimension)

    def reads(self, texts) -> bool:
        return True

    def encode_text(self, texts):
        return Embeddings(unit(np.array([self.vector(text) for text in texts])), self.fingerprint)

    def encode_image(self, pictures, *, on_error="raise", batch_size=32):
        rows, indices, failed = [], [], []
        for index, picture in enumerate(pictures):
            if isinstance(picture, np.ndarray):
                picture = picture.tobytes()[:64].hex().encode()
            data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
            if data.startswith(b"broken"):
                if on_error == "raise":
                    raise PictureError(f"picture {index}", "is broken")
                failed.append(Failure(index, f"picture {index}", "is broken"))
                continue
            rows.append(self.vector(data.decode()))
            indices.append(index)
        vectors = unit(np.array(rows).reshape(-1, self.dimension))
        return Embeddings(vectors, self.fingerprint, np.array(indices, np.int64), tuple(failed))


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def blind_encoder():
    return FakeEncoder(blind=True)


@pytest.fixture
def write_shard():
    """Write a shard of (picture bytes, facts) pairs and return its path."""

    def write(path, examples, suffix=".webp"):
        with tarfile.open(path, "w") as shard:
            for number, (picture, facts) in enumerate(examples):
                for end, data in ((suffix, picture), (".json", json.dumps(facts).encode())):
                    member = tarfile.TarInfo(f"k{number:03d}{end}")
                    member.size = len(data)
                    shard.addfile(member, io.BytesIO(data))
        return path

    return write


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Nothing is cached outside the test."""
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
