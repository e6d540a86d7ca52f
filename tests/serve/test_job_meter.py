from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.progress import Progress
from anmok.serve.job import JobProgress
from anmok.serve.job_meter import Meter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_rate_and_time_left_are_known_after_a_second(clock):
    meter = Meter(clock)
    assert meter.hear(Progress("indexing", 0, 100)) == JobProgress("indexing", 0, 100)
    clock.now += 0.5
    assert meter.hear(Progress("indexing", 10, 100)) == JobProgress("indexing", 10, 100)
    clock.now += 1.5
    assert meter.hear(Progress("indexing", 20, 100)) == JobProgress("indexing", 20, 100, 10.0, 8.0)
    assert meter.hear(Progress("indexing", 20, None)) == JobProgress("indexing", 20, None, 10.0, None)


def test_a_rate_is_that_of_late(clock):
    meter = Meter(clock)
    meter.hear(Progress("indexing", 0, 10**6))
    clock.now += 1
    meter.hear(Progress("indexing", 10**5, 10**6))  # what was indexed before, passed over quickly
    for second in range(1, 100):
        clock.now += 1
        heard = meter.hear(Progress("indexing", 10**5 + 7 * second, 10**6))
    assert heard.rate == pytest.approx(7)


def test_signs_of_life_between_slow_steps_do_not_make_a_rate_jump(clock):
    meter = Meter(clock)
    rates = []
    for second in range(2000):
        rates.append(meter.hear(Progress("indexing", 256 * (second // 85), 10**6)).rate)
        clock.now += 1
    assert rates[:85] == [None] * 85
    assert all(0.8 < rate / (256 / 85) < 1.2 for rate in rates[10 * 85 :])


def test_what_goes_on_inside_is_not_shown_and_what_follows_is(clock):
    meter = Meter(clock)
    assert meter.hear(Progress("outer", 0, 2)).name == "outer"
    assert meter.hear(Progress("inner", 0, 9)) is None
    assert meter.hear(Progress("inner", 9, 9, finished=True)) is None
    assert meter.hear(Progress("outer", 2, 2, finished=True)) == JobProgress("outer", 2, 2)
    clock.now += 10
    assert meter.hear(Progress("next", 0, 5)) == JobProgress("next", 0, 5)  # no rate of what was before


@given(
    reports=st.lists(
        st.tuples(
            st.floats(0, 1e6),
            st.sampled_from(["a", "b"]),
            st.integers(0, 10**9),
            st.none() | st.integers(0, 10**9),
            st.booleans(),
        )
    )
)
def test_whatever_is_reported_rates_and_times_are_no_nonsense(reports):
    clock = Clock()
    meter = Meter(clock)
    for seconds, name, done, total, finished in reports:
        clock.now += seconds
        heard = meter.hear(Progress(name, done, total, finished=finished))
        if heard is not None:
            assert (heard.name, heard.done, heard.total) == (name, done, total)
            assert heard.rate is None or heard.rate > 0
            assert heard.remaining_s is None or (heard.remaining_s >= 0 and heard.rate)
