"""A source of pairs: numbers through all shards, errors that survive a process border."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.pairs import Pair, PairError, PairSource


class Counted:
    """A shard of numbered pairs, of which each seventh cannot be used."""

    def __init__(self, name, size):
        self.name = name
        self.size = size

    def __len__(self):
        return self.size

    def read(self, index):
        if index % 7 == 6:
            raise PairError(f"{self.name}:{index}", "seventh", "it is")
        return Pair(f"{self.name}:{index}", b"", ("text",))


@given(st.lists(st.integers(0, 9), max_size=6))
def test_numbers_count_through_all_shards(sizes):
    source = PairSource([Counted(str(number), size) for number, size in enumerate(sizes)])
    assert len(source) == sum(sizes)
    for number, expected in enumerate(source):
        if isinstance(expected, PairError):
            with pytest.raises(PairError, match="it is"):
                source.read(number)
        else:
            assert source.read(number) == expected
    for number in (-1, len(source)):
        with pytest.raises(IndexError, match=f"there is no pair {number}: the source has {len(source)}"):
            source.read(number)


def test_an_error_names_its_pair_and_survives_a_process_border():
    error = pickle.loads(pickle.dumps(PairError("a.tar:k.jpg", "no text", "there is none")))
    assert str(error) == "a.tar:k.jpg: there is none"
    assert (error.pair, error.kind, error.reason) == ("a.tar:k.jpg", "no text", "there is none")
