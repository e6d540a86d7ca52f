import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from anmok.inspect.conformal import drift, p_values, promised, threshold

scores = st.lists(st.floats(0, 100, width=32), min_size=1, max_size=60).map(lambda x: np.array(x, np.float32))


@settings(deadline=None)
@given(scores, scores, st.floats(0.001, 0.999))
def test_above_the_threshold_is_a_small_p_value(good, new, rate):
    """The two ways to say it agree, also for equal scores."""
    small = p_values(new, good) <= promised(len(good), rate) + 1e-12
    np.testing.assert_array_equal(new > np.float32(threshold(good, rate)), small)


@settings(deadline=None)
@given(scores)
def test_p_values_are_bounded_by_how_many_are_known(good):
    assert p_values(np.array([1e6], np.float32), good)[0] == 1 / (len(good) + 1)
    assert p_values(np.array([-1], np.float32), good)[0] == 1


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (50, 0.1), (20, 0.01), (400, 0.05)])
def test_the_promise_is_kept(count, rate):
    """Of 20,000 new good scores per drawn threshold, averaged over 2,000 of them: within three standard errors."""
    rng = np.random.default_rng(count)
    told = promised(count, rate)
    # what a threshold lets through is 1 - F(threshold): for uniform scores the threshold itself says it
    false = [1 - threshold(rng.uniform(size=count).astype(np.float32), rate) for _ in range(2000)]
    exact, error = np.floor(told * (count + 1) + 1e-9) / (count + 1), 3 * np.std(false) / 2000**0.5
    assert np.mean(false) == pytest.approx(exact, abs=error)
    assert exact <= told


def test_few_pictures_cannot_promise_little():
    assert promised(4, 0.01) == 0.2
    assert promised(99, 0.01) == 0.01


class TestDrift:
    rng = np.random.default_rng(7)

    def draw(self, count, shift=0.0):
        return (self.rng.gamma(5, 1, count) + shift).astype(np.float32)

    @pytest.mark.parametrize("faults", [0.0, 0.2])
    def test_rarely_told_where_nothing_moved(self, faults):
        told = 0
        for _ in range(400):
            new = self.draw(80)
            new[: int(80 * faults)] += 30
            told += drift(new, self.draw(60), 0.02).moved
        assert told <= stats.binom.ppf(0.999, 400, 0.01)

    def test_told_where_all_scores_went_up(self):
        assert np.mean([drift(self.draw(100, 1.5), self.draw(60), 0.02).moved for _ in range(50)]) > 0.6
        assert "faulty" in drift(self.draw(100, 30), self.draw(60), 0.02).reason

    def test_statistic_is_scipys(self):
        new, good = self.draw(50, 0.7), self.draw(60)
        low = np.sort(good)[:48]
        part = new[new <= low[-1]]
        expected = stats.ks_2samp(part, low, alternative="less", method="asymp")
        n = len(part) * len(low) / (len(part) + len(low))
        assert drift(new, good, 0.02).p_value == pytest.approx(np.exp(-2 * n * expected.statistic**2), rel=1e-6)

    def test_not_told_from_few(self):
        assert not drift(self.draw(5, 30), self.draw(60), 0.02).moved
