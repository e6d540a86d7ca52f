"""The gate: what is let through, what is refused and why."""

from dataclasses import replace

import numpy as np
import pytest

from anmok.runtime.fidelity import Certificate, compare

GOOD = Certificate(mean=0.9995, least=0.996, agreement=0.995, compared=128, pictures=128, made_with={"way": "int8"})


def rows(*values):
    return np.array(values, np.float32)


def test_what_is_near_enough_is_let_through():
    assert GOOD.refusal == ""
    assert replace(GOOD, mean=0.999, least=0.995, agreement=0.99).refusal == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mean": 0.9989}, "the mean cosine with fp32 is 0.9989, below 0.999"),
        ({"least": 0.9949}, "the smallest cosine is 0.9949, below 0.995"),
        ({"agreement": 0.984}, "the share of pictures taken for the same kind of thing is 0.9840, below 0.99"),
        ({"mean": float("nan")}, "the mean cosine with fp32 is nan, below 0.999"),
    ],
)
def test_a_refusal_names_the_number_and_the_bound(change, reason):
    assert replace(GOOD, **change).refusal == reason


def test_all_that_is_wrong_is_named():
    assert replace(GOOD, mean=0.5, least=0.1).refusal.count("below") == 2


def test_lengths_do_not_matter_and_directions_do():
    exact, found = rows([1, 0], [0, 2]), rows([3, 0], [1, 1])
    scores = rows([0.1, 0.9], [0.8, 0.2], [0.6, 0.4])
    changed = rows([0.1, 0.9], [0.2, 0.8], [0.9, 0.1])
    certificate = compare(exact, found, (scores, changed), made_with={})
    assert certificate.mean == pytest.approx((1 + 2**-0.5) / 2)
    assert certificate.least == pytest.approx(2**-0.5)
    assert certificate.agreement == pytest.approx(2 / 3)
    assert (certificate.compared, certificate.pictures) == (2, 3)


def test_an_embedding_of_nothing_is_refused():
    certificate = compare(rows([1, 0]), rows([0, 0]), (rows([1, 0]), rows([1, 0])), made_with={})
    assert "the mean cosine with fp32 is 0.0000" in certificate.refusal


def test_the_hash_is_of_every_number_and_name():
    assert GOOD.digest == replace(GOOD).digest
    assert len({GOOD.digest, replace(GOOD, compared=1).digest, replace(GOOD, made_with={"way": "bf16"}).digest}) == 3
    assert GOOD.digest in str(GOOD)
