"""Embeddings: unit vectors that refuse to be compared across encoders."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from anmok.embeddings import Embeddings, Failure, unit
from anmok.errors import FingerprintMismatch


def some(rows: int, fingerprint: str = "a1") -> Embeddings:
    return Embeddings(unit(np.random.default_rng(rows).normal(size=(rows, 4))), fingerprint)


def test_product_is_the_cosine_of_every_pair():
    pictures, texts = some(3), some(2)
    expected = [[float(np.dot(p, t)) for t in texts] for p in pictures]
    assert np.allclose(pictures @ texts, expected)


def test_product_across_fingerprints_raises_naming_both():
    with pytest.raises(FingerprintMismatch, match=r"encoder a1 .* encoder b2"):
        some(3) @ some(3, "b2")


def test_concatenate_across_fingerprints_raises():
    with pytest.raises(FingerprintMismatch, match="same checkpoint"):
        Embeddings.concatenate([some(1), some(1, "b2")])


def test_concatenate_keeps_order():
    joined = Embeddings.concatenate([some(2), some(3)])
    assert np.array_equal(joined.vectors[2:], some(3).vectors)
    assert joined.indices.tolist() == [0, 1, 2, 3, 4]


def test_rows_keep_the_fingerprint_and_the_input_they_belong_to():
    embeddings = Embeddings(unit(np.eye(3)), "a1", np.array([0, 2, 3]), (Failure(1, "bad.jpg", "is empty"),))
    assert embeddings[1].indices.tolist() == [2]
    assert embeddings[[0, 2]].indices.tolist() == [0, 3]
    assert embeddings[1:].fingerprint == "a1"


def test_vectors_of_one_dimension_are_refused():
    with pytest.raises(ValueError, match=r"\[n, d\]"):
        Embeddings(np.zeros(3, np.float32), "a1")


@given(arrays(np.float64, (3, 5), elements=st.floats(-1e6, 1e6)))
def test_unit_rows_have_length_one_or_stay_zero(vectors):
    lengths = np.linalg.norm(unit(vectors), axis=1)
    zero = np.linalg.norm(vectors, axis=1) < 1e-6
    assert np.allclose(lengths[~zero], 1, atol=1e-5)
    assert (lengths[zero] <= 1 + 1e-5).all()
