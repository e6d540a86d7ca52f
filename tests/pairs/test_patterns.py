"""Patterns of paths. The expected lists are those of braceexpand 0.1.7, which webdataset uses."""

import pytest

from anmok.pairs import SourceError
from anmok.pairs.patterns import expand_braces, is_pattern, matching


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{00000..00003}.tar", ["00000.tar", "00001.tar", "00002.tar", "00003.tar"]),
        ("{8..11}", ["8", "9", "10", "11"]),
        ("{08..11}", ["08", "09", "10", "11"]),
        ("{1..001}", ["001"]),
        ("{5..1..2}", ["5", "3", "1"]),
        ("{000..100..50}", ["000", "050", "100"]),
        ("{-1..1}", ["-1", "0", "1"]),
        ("{a,b}-{1..2}", ["a-1", "a-2", "b-1", "b-2"]),
        ("{a,{b,c}}", ["a", "b", "c"]),
        ("{a{1,2},b}", ["a1", "a2", "b"]),
        ("{,x}y", ["y", "xy"]),
        ("{a}", ["{a}"]),
        ("{}", ["{}"]),
        ("{a{1,2}}", ["{a1}", "{a2}"]),
        ("a{b", ["a{b"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_braces_expand_as_in_shells(pattern, expected):
    assert list(expand_braces(pattern)) == expected
    assert is_pattern(pattern) == (len(expected) > 1)


def test_stars_are_sorted_and_absent_names_are_told(tmp_path):
    for name in ("b.tar", "a.tar", "c.txt"):
        (tmp_path / name).touch()
    assert matching(f"{tmp_path}/*.tar") == ([tmp_path / "a.tar", tmp_path / "b.tar"], [])
    assert matching(f"{tmp_path}/{{b,x,a}}.tar") == ([tmp_path / "b.tar", tmp_path / "a.tar"], [f"{tmp_path}/x.tar"])
    assert matching(f"{tmp_path}/**/c.*")[0] == [tmp_path / "c.txt"]


def test_endless_patterns_are_refused(monkeypatch):
    monkeypatch.setattr("anmok.pairs.patterns.MOST_PATHS", 100)
    with pytest.raises(SourceError, match="more than 100 paths"):
        matching("nowhere/{0..99999999999}")
