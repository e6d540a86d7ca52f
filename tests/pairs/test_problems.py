"""Problems are listed up to a number, and counted to the end."""

import numpy as np

from anmok.pairs import Problem
from anmok.pairs.problems import LISTED, Problems, digest


def test_nothing_is_lost_of_many_problems(problems):
    problems.add("a", "rare", "once", count=3)
    for number in range(LISTED + 5):
        problems.add(str(number), "common", "again", count=2)
    found = problems.found()
    assert problems.total == 3 + 2 * (LISTED + 5)
    assert found[0] == Problem("a", "rare", "once", 3)
    assert found[-1] == Problem("everywhere", "common", "10 more of this kind, not listed one by one", 10)
    assert len(found) == 1 + LISTED + 1
    assert sum(problem.count for problem in found if problem.kind == "common") == 2 * (LISTED + 5)


def test_without_problems_there_are_none():
    assert Problems().found() == ()


def test_digest_keeps_parts_apart():
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
    assert digest(np.array([1, 2])) != digest(np.array([2, 1]))
    assert digest("x", 1) == digest("x", 1)
