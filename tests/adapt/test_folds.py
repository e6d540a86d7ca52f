import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.adapt.folds import MOST_FOLDS, fold_numbers, groups_of


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=60), st.integers(0, 100))
def test_every_example_is_held_out_once_and_labels_are_dealt_evenly(targets, seed):
    targets = np.array(targets)
    numbers = fold_numbers(targets, np.arange(len(targets)), seed=seed)
    folds = int(np.clip(np.median(np.bincount(targets)[np.unique(targets)]), 2, MOST_FOLDS))
    assert numbers.min() >= 0 and numbers.max() < folds
    for target in np.unique(targets):
        counts = np.bincount(numbers[targets == target], minlength=folds)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(numbers, minlength=folds)
    assert sizes.max() - sizes.min() <= 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=4, max_size=40), st.integers(0, 20))
def test_a_group_is_never_on_both_sides(groups, seed):
    groups = np.array(groups)
    targets = np.arange(len(groups)) % 2
    numbers = fold_numbers(targets, groups, seed=seed)
    assert all(len(set(numbers[groups == group])) == 1 for group in groups)


def test_near_copies_are_one_group_also_where_all_vectors_are_alike():
    random = np.random.default_rng(0)
    points = random.normal(size=(30, 20))
    points[1] = points[0] + 0.05 * random.normal(size=20)
    points[7] = points[1] + 0.05 * random.normal(size=20)
    for offset in (0, 1000):  # an encoder that is hardly trained has everything in one direction
        groups = groups_of(points + offset)
        assert groups[0] == groups[1] == groups[7]
        assert len(set(groups)) == 28
