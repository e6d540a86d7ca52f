"""Strings in one block."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from anmok.pairs.compact import Texts

any_text = st.text(st.characters(exclude_categories=()), max_size=8)  # lone surrogates, as in odd file names, too


@given(st.lists(any_text, max_size=8))
def test_strings_come_back(strings):
    packed = pickle.loads(pickle.dumps(Texts.pack(strings)))
    assert list(packed) == strings
    assert len(packed) == len(strings)
    assert [packed[index] for index in range(len(strings))] == strings


def test_many_names_take_little_memory():
    packed = Texts.pack(f"pictures/{number:022d}" for number in range(100_000))
    assert len(packed.data) + packed.ends.nbytes == 100_000 * (31 + 8)
