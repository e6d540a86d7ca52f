import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.tune import TuneError, interpolate

BEFORE = {"a": np.array([1.0, -3.0], np.float32), "b": np.array(0.1, np.float16)}
AFTER = {"a": np.array([2.0, 5.0], np.float32), "b": np.array(0.1, np.float16)}


def test_the_ends_are_exact_and_the_middle_is_the_mean():
    assert interpolate(BEFORE, AFTER, 0) == BEFORE
    assert interpolate(BEFORE, AFTER, 1) == AFTER
    assert interpolate(BEFORE, AFTER, 0.5)["a"].tolist() == [1.5, 1.0]


@given(st.floats(0, 1))
def test_what_was_not_tuned_stays_to_the_bit(share):
    mixed = interpolate(BEFORE, AFTER, share)
    assert mixed["b"] == np.float32(BEFORE["b"])
    assert (np.minimum(BEFORE["a"], AFTER["a"]) <= mixed["a"]).all()
    assert (mixed["a"] <= np.maximum(BEFORE["a"], AFTER["a"])).all()


def test_what_cannot_be_interpolated_is_told():
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(TuneError, match="expected 0"):
            interpolate(BEFORE, AFTER, share)
    with pytest.raises(TuneError, match="b differs"):
        interpolate(BEFORE, {"a": AFTER["a"]}, 0.5)
    with pytest.raises(TuneError, match="a differs"):
        interpolate(BEFORE, {**AFTER, "a": np.zeros(3)}, 0.5)
