"""Metrics against brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.evaluate.metrics import auroc, auroc_interval, false_positive_rate, hits_at, recall_chance, wilson

few = settings(max_examples=60, deadline=None)
numbers = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=8)


@few
@given(numbers, numbers)
def test_auroc_is_the_share_of_ordered_pairs(positive, negative):
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert auroc(np.array(positive), np.array(negative)) == pytest.approx(np.mean(pairs))


@few
@given(numbers, numbers, st.sampled_from([0.5, 0.8, 1.0]))
def test_false_positive_rate_is_the_least_of_thresholds_that_find_enough(positive, negative, found):
    enough = [t for t in positive if np.mean(np.array(positive) >= t) >= found - 1e-12]
    best = min(np.mean(np.array(negative) >= t) for t in enough)
    assert false_positive_rate(np.array(positive), np.array(negative), found=found) == pytest.approx(best)


@few
@given(st.data())
def test_hits_are_the_mean_over_every_order_of_ties(data):
    m = data.draw(st.integers(1, 5))
    scores = np.array([data.draw(st.lists(st.integers(0, 2).map(float), min_size=m, max_size=m))])
    relevant = np.array([data.draw(st.lists(st.booleans(), min_size=m, max_size=m))])
    k = data.draw(st.integers(1, 6))
    orders = [
        order
        for order in itertools.permutations(range(m))
        if all(scores[0][a] >= scores[0][b] for a, b in itertools.pairwise(order))
    ]
    expected = np.mean([any(relevant[0][i] for i in order[:k]) for order in orders])
    assert hits_at(scores, relevant, k)[0] == pytest.approx(expected)


@few
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4), st.integers(1, 8))
def test_chance_is_the_mean_over_every_draw(rows, k):
    relevant = np.array(rows)
    draws = list(itertools.combinations(range(6), min(k, 6)))
    expected = np.mean([[row[list(draw)].any() for draw in draws] for row in relevant])
    assert recall_chance(relevant, k) == pytest.approx(expected)
    blind = np.zeros_like(relevant, float)
    assert hits_at(blind, relevant, k).mean() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.0, 20, 0.0, 0.1611), (1.0, 20, 0.8389, 1.0), (0.8, 1000, 0.7741, 0.8236)],
)
def test_wilson_gives_published_intervals(share, n, low, high):
    assert wilson(share, n) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@few
@given(st.integers(1, 2000), st.floats(0, 1))
def test_wilson_holds_the_share_and_stays_in_range(n, part):
    share = math.floor(part * n) / n
    low, high = wilson(share, n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def test_wilson_of_nothing_is_everything():
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_interval_of_an_area_covers_it_in_19_of_20_draws():
    random = np.random.default_rng(0)
    true = 0.5 * (1 + math.erf(1 / 2))  # of two normals one standard deviation apart
    covered = 0
    for _ in range(300):
        positive, negative = random.normal(1, 1, 40), random.normal(0, 1, 60)
        low, high = auroc_interval(auroc(positive, negative), 40, 60)
        covered += low <= true <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_interval_of_a_perfect_area_is_a_point():
    assert auroc_interval(1.0, 5, 5) == (1.0, 1.0)
