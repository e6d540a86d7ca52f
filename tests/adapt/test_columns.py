import json

import numpy as np
import pytest

from anmok.adapt.columns import FAR, ColumnEncoder


def test_numbers_words_and_what_is_missing():
    table = {"heat": ["10", "20", "", "30"], "maker": ["kim", "lee", "kim", "park"]}
    encoder = ColumnEncoder.fit(table)
    encoded = encoder.encode(table, 4)
    np.testing.assert_allclose(encoded[:, 0], [-1.224745, 0, 0, 1.224745], atol=1e-6)
    assert encoded[:, 1].tolist() == [0, 0, 1, 0]  # missing
    assert encoded[:, 2].tolist() == [1, 0, 1, 0]  # kim; the others are there once and say nothing


def test_new_words_missing_columns_and_far_numbers_are_no_error():
    encoder = ColumnEncoder.fit({"heat": ["1", "2", "3"], "maker": ["a", "a", "b"]})
    encoded = encoder.encode({"heat": ["1e9", "nan", "warm"], "maker": ["new", "", "a"]}, 3)
    assert encoded[:, 0].tolist() == [FAR, 0, 0]
    assert encoded[:, 1].tolist() == [0, 0, 1]
    assert encoder.encode({}, 2).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (["5", "5", "5"], "the same for all"),
        (["", "na", "-"], "empty"),
        (["a1", "a2", "a3"], "there once only"),
    ],
)
def test_columns_that_say_nothing_are_left_out(cells, why):
    encoder = ColumnEncoder.fit({"x": cells})
    assert not encoder.columns and why in encoder.left_out["x"]


def test_it_comes_back_from_json():
    table = {"price": ["1,200", "3,400.5", "12%"], "kind": ["x", "x", "y"]}
    encoder = ColumnEncoder.fit(table)
    back = ColumnEncoder.from_description(json.loads(json.dumps(encoder.describe())))
    np.testing.assert_array_equal(back.encode(table, 3), encoder.encode(table, 3))
