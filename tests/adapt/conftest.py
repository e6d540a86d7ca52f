"""Points of a known world in place of an encoder: what is best is known, so that what is found can be judged."""

from __future__ import annotations

import numpy as np
import pytest

from anmok.adapt.methods import Known
from anmok.embeddings import Embeddings, Failure, unit

DIMENSION = 16


class World:
    """Labels with a direction for their pictures and one for their words, `apart` from each other by some noise."""

    name = "world"
    dimension = DIMENSION
    score = "softmax"
    logit_scale = 20.0
    logit_bias = 0.0
    fingerprint = "f" * 16

    def __init__(self, labels: list[str], *, wrong: float = 0.0, noise: float = 0.3, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.labels = labels
        self.noise = noise
        self.pictures = unit(random.normal(size=(len(labels), DIMENSION)))
        self.words = unit(self.pictures + wrong * random.normal(size=self.pictures.shape))

    def draw(self, targets, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        targets = np.asarray(targets)
        return unit(self.pictures[targets] + self.noise * random.normal(size=(len(targets), DIMENSION)))

    def known(self, targets, seed: int = 1, columns=None) -> Known:
        targets = np.asarray(targets, np.int64)
        table = np.empty((len(targets), 0)) if columns is None else np.asarray(columns, np.float64)
        texts = {"small": self.words.astype(np.float64)}
        return Known(self.draw(targets, seed).astype(np.float64), table, targets, texts, self.logit_scale)

    # what `adapt` asks of an encoder: a picture is the bytes "LABEL NUMBER", "broken" cannot be read

    def encode_image(self, pictures, *, on_error="raise"):
        rows, indices, failed = [], [], []
        for index, picture in enumerate(pictures):
            label, _, number = (picture if isinstance(picture, bytes) else picture.read_bytes()).decode().partition(" ")
            if label == "broken":
                failed.append(Failure(index, f"picture {index}", "is broken"))
                continue
            if label in self.labels:
                rows.append(self.draw([self.labels.index(label)], 1000 + int(number))[0])
            else:
                rows.append(unit(np.random.default_rng(int(number)).normal(size=(1, DIMENSION)))[0])
            indices.append(index)
        vectors = np.array(rows, np.float32).reshape(-1, DIMENSION)
        return Embeddings(vectors, self.fingerprint, np.array(indices, np.int64), tuple(failed))

    def encode_text(self, texts):
        found = [next((i for i, label in enumerate(self.labels) if label in text), None) for text in texts]
        return Embeddings(
            np.array([self.words[0] if i is None else self.words[i] for i in found], np.float32), self.fingerprint
        )

    def reads(self, texts) -> bool:
        return True


@pytest.fixture
def make_world():
    return World


def write_folder(root, counts: dict[str, int]):
    """`ROOT/LABEL/NUMBER.png` with "LABEL NUMBER" inside."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / label / f"{number}.png").write_text(f"{label} {number}", encoding="utf-8")
    return root


@pytest.fixture
def folder(tmp_path):
    """Writes a folder of examples."""
    return lambda counts, name="examples": write_folder(tmp_path / name, counts)
