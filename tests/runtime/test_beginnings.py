"""Beginnings that texts share: every text once, nothing changed, and less work wherever it is less."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.runtime.beginnings import RUN, plan, run_texts

END = 9
token = st.integers(0, 2)  # few, so that texts begin alike
texts = st.lists(st.lists(token, max_size=7), min_size=1, max_size=40)


def padded(texts):
    ids = np.full((len(texts), 1 + max(map(len, texts))), -1)
    for row, text in enumerate(texts):
        ids[row, : len(text) + 1] = [*text, END]
    return ids, np.array([len(text) + 1 for text in texts])


def cost(ids, lengths):
    return sum(
        RUN + lengths[group.rows].sum() + (RUN + group.shared - group.shared * len(group.rows) if group.shared else 0)
        for group in plan(ids, lengths)
    )


@given(texts)
def test_every_text_is_in_one_group_and_begins_as_the_others(texts):
    ids, lengths = padded(texts)
    groups = plan(ids, lengths)
    assert sorted(row for group in groups for row in group.rows) == list(range(len(texts)))
    for group in groups:
        assert (ids[group.rows, : group.shared] == ids[group.rows[0], : group.shared]).all()
        assert (lengths[group.rows] > group.shared).all()
        assert (np.diff(lengths[group.rows]) >= 0).all()


@given(texts)
def test_the_plan_is_never_more_work_than_running_all_as_they_are(texts):
    ids, lengths = padded(texts)
    assert cost(ids, lengths) <= RUN + lengths.sum()


def test_templates_around_labels_are_found():
    templates = [[1, 2, 3, 4], [1, 2, 5, 6], [7, 8]]
    ids, lengths = padded([[*template, 10 + i % 10, 30 + i // 10] for template in templates for i in range(100)])
    groups = plan(ids, lengths)
    assert sorted((group.shared, len(group.rows)) for group in groups) == [(2, 100), (4, 100), (4, 100)]


def test_a_beginning_of_few_texts_is_left_alone():
    ids, lengths = padded([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [7, 8], [8]])
    assert [group.shared for group in plan(ids, lengths)] == [0]


@pytest.mark.parametrize("most", [1, 3, 1000])
@given(texts=texts)
def test_what_is_run_is_what_was_asked_for(texts, most):
    """With a tower that remembers what it saw: the sum of tokens weighted by place, up to the end."""
    ids, lengths = padded(texts)
    sizes = []

    def run(some, past):
        sizes.append(some.shape)
        first = past.shape[3]
        weighted = np.where(some == -1, 0, some * (1 + first + np.arange(some.shape[1])))
        seen = weighted[:1].reshape(1, 1, 1, -1, 1).astype(np.float32)
        return (weighted.sum(axis=1) + past.sum())[:, None].astype(np.float32), seen

    found = run_texts(ids, lengths, run, nothing=np.zeros((1, 1, 1, 0, 1), np.float32), most=most)
    expected = [sum(token * (1 + place) for place, token in enumerate([*text, END])) for text in texts]
    np.testing.assert_array_equal(found[:, 0], expected)
    assert max(rows for rows, _ in sizes) <= most
