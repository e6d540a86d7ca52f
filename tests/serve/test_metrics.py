from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.serve import metrics
from anmok.serve.metrics import Metrics, Recent


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(metrics, "time", clock)
    return clock


def test_throughput_is_that_of_the_last_minute(clock):
    counted = Metrics()
    counted.ran("bench", "image", 30, 0.1)
    clock.now += 30
    counted.ran("bench", "image", 90, 0.1)
    counted.ran("bench", "text", 6, 0.1)
    assert (counted.per_second("image"), counted.per_second("text")) == (2.0, 0.1)
    clock.now += 31
    assert counted.per_second("image") == 1.5
    clock.now += 60
    assert (counted.per_second("image"), counted.per_second("text")) == (0.0, 0.0)


def test_errors_that_have_not_happened_are_0():
    text = Metrics().text().decode()
    assert 'anmok_errors_total{code="disk_full"} 0.0' in text and 'anmok_errors_total{code="busy"} 0.0' in text


def test_what_nobody_asks_for_does_not_pile_up(clock):
    recent = Recent()
    for _ in range(20_000):
        clock.now += 0.05
        recent.add(1)
    assert len(recent._seconds) <= 62
    assert recent.count() == pytest.approx(60 / 0.05, abs=21)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 100)), max_size=50))
def test_as_a_list_of_everything_would_tell_it(runs):
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(metrics, "time", clock)
        recent, told = Recent(), []
        for pause, items in runs:
            clock.now += pause
            recent.add(items)
            told.append((int(clock.now), items))
            assert recent.count() == sum(items for second, items in told if second >= clock.now - metrics.RECENT_S)
