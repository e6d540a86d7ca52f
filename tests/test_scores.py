"""Honest scores: what they mean, what they do not depend on, and the cache of competing texts."""

import numpy as np
import pytest

from anmok import scores
from anmok.embeddings import Embeddings, unit

D = 48


class FakeEncoder:
    """Texts in fixed random directions; counts how often it is asked."""

    fingerprint = "a" * 16
    dimension = D

    def __init__(self):
        self.calls = 0

    def encode_text(self, texts):
        self.calls += 1
        return Embeddings(unit(np.random.default_rng(0).normal(size=(len(texts), D))), self.fingerprint)


def embed(*vectors):
    return Embeddings(unit(np.array(vectors)), FakeEncoder.fingerprint)


@pytest.fixture(scope="module")
def background():
    return FakeEncoder().encode_text(range(300))


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_background_is_two_languages_and_no_text_twice():
    texts = scores.background_texts()
    korean = [text for text in texts if any("가" <= letter <= "힣" for letter in text)]
    assert 800 <= len(texts) <= 1000
    assert len(korean) * 2 == len(texts)
    assert len(set(texts)) == len(texts)


def test_background_is_encoded_once_per_encoder(home):
    encoder = FakeEncoder()
    first = scores.background(encoder)
    again = scores.background(encoder)
    assert encoder.calls == 1
    assert first.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(first.vectors, again.vectors)
    other = FakeEncoder()
    other.fingerprint = "b" * 16
    scores.background(other)
    assert other.calls == 1


@pytest.mark.parametrize("damage", [b"", b"not numpy", None])
def test_damaged_background_is_encoded_again(home, damage):
    encoder = FakeEncoder()
    scores.background(encoder)
    (path,) = (home / "backgrounds").iterdir()
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    assert len(scores.background(encoder)) == len(scores.background_texts())
    assert encoder.calls == 2
    scores.background(encoder)
    assert encoder.calls == 2


def test_home_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "file" / "home"))
    assert len(scores.background(FakeEncoder())) == len(scores.background_texts())
