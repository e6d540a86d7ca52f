"""The order of pairs: complete, shuffled, the same anywhere, reachable at any place."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.train.order import Order, held_out

SIZES = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=5), min_size=1, max_size=4).filter(
    lambda sources: all(sum(source) for source in sources)
)


def places(order, epoch, size, first=0):
    return list(order.batches(epoch, size, first=first))


@given(SIZES, st.integers(0, 3), st.integers(1, 6))
def test_an_epoch_holds_every_pair_once(sizes, epoch, window):
    order = Order(sizes, seed=1, window=window)
    seen = np.concatenate([place.indices for place in places(order, epoch, 1)])
    assert sorted(seen) == list(range(sum(map(sum, sizes))))


@given(SIZES, st.integers(1, 7), st.integers(0, 5))
def test_going_on_at_a_place_gives_the_rest(sizes, size, batches_done):
    order = Order(sizes, seed=3)
    whole = places(order, 2, size)
    rest = places(Order(sizes, seed=3), 2, size, first=batches_done * size)
    for one, other in zip(whole[batches_done:], rest, strict=True):
        assert one.first == other.first
        assert np.array_equal(one.indices, other.indices)


def test_seed_and_epoch_change_the_order():
    first = places(Order([[100]], seed=0), 0, 100)[0].indices
    assert not np.array_equal(first, places(Order([[100]], seed=1), 0, 100)[0].indices)
    assert not np.array_equal(first, places(Order([[100]], seed=0), 1, 100)[0].indices)
    assert np.array_equal(first, places(Order([[100]], seed=0), 0, 100)[0].indices)


def test_a_window_reads_from_few_shards_at_a_time():
    order = Order([[10] * 8], seed=0, window=2)
    seen = np.concatenate([place.indices for place in places(order, 0, 20)])
    for part in seen.reshape(4, 20):
        assert len(set(part // 10)) == 2
    assert len(set(seen[:20] // 10)) == 2
    assert not np.array_equal(np.sort(seen[:20]), seen[:20])


def test_a_rest_smaller_than_a_batch_is_left_out():
    assert [len(place.indices) for place in places(Order([[10]], seed=0), 0, 4)] == [4, 4]


def test_shares_say_how_often_a_source_is_drawn_from():
    order = Order([[30], [90]], seed=0, shares=[3, 1])
    epochs = [np.concatenate([place.indices for place in places(order, epoch, 1)]) for epoch in range(4)]
    for seen in epochs:
        assert (seen < 30).sum() == 90  # three quarters of 120
    small = np.concatenate(epochs)
    counts = np.bincount(small[small < 30], minlength=30)
    assert counts.min() == counts.max() == 12  # 360 draws of 30 pairs: each as often as the others
    large = small[small >= 30] - 30
    assert np.bincount(large, minlength=90).max() - np.bincount(large, minlength=90).min() <= 1


@pytest.mark.parametrize("shares", [None, [1, 1]])
def test_what_is_held_out_is_never_drawn(shares):
    apart = held_out(100, 0.2, 15, seed=0)
    assert len(apart) == 15
    assert np.array_equal(apart, held_out(100, 0.2, 15, seed=0))
    order = Order([[40, 20], [40]], seed=0, shares=shares, without=apart)
    assert order.length == 85
    seen = np.concatenate([place.indices for epoch in range(3) for place in places(order, epoch, 5)])
    assert not set(seen) & set(apart)
    assert len(set(seen)) > 80
