"""Patterns of paths: braces as webdataset and shells expand them, then `*`, `?` and `[…]`."""

from __future__ import annotations

import glob
import re
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.pairs.pair import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["expand_braces", "is_pattern", "matching"]

MOST_PATHS = 1_000_000
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?")


def is_pattern(text: str) -> bool:
    """Whether a path holds `*`, `?`, `[` or braces that expand."""
    return bool(glob.has_magic(text)) or next(islice(expand_braces(text), 1, None), None) is not None


def matching(pattern: str) -> tuple[list[Path], list[str]]:
    """Paths that a pattern means, in its order (those of `*` sorted), and the names in it that are not there.

    Raises:
        SourceError: it expands to more than a million paths.
    """
    found: list[Path] = []
    missing: list[str] = []
    for count, name in enumerate(expand_braces(pattern)):
        if count == MOST_PATHS:
            raise SourceError(f"{pattern}: expands to more than {MOST_PATHS:,} paths")
        if Path(name).exists():
            found.append(Path(name))
            continue
        paths = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207 (absolute ones)
        found.extend(Path(path) for path in paths)
        if not paths:
            missing.append(name)
    return found, missing


def expand_braces(text: str) -> Iterator[str]:
    """Every string that braces stand for, leftmost changing slowest; other braces stay as they are.

    Lists (`{a,b}`), ranges of numbers with zeros in front and steps (`{000..100..10}`), and both nested.
    Source: bash's brace expansion, as in the package braceexpand that webdataset uses.

    >>> list(expand_braces("{train,more}-{08..10}.tar"))[:3]
    ['train-08.tar', 'train-09.tar', 'train-10.tar']
    """
    for start in (found.start() for found in re.finditer(r"\{", text)):
        end, commas = _group(text, start)
        if end < 0:
            continue
        inner = text[start + 1 : end]
        numbers = _RANGE.fullmatch(inner)
        if numbers is None and not commas:
            continue
        pieces = _range(*numbers.groups()) if numbers else _list(text, start, end, commas)
        for piece in pieces:
            for rest in expand_braces(text[end + 1 :]):
                yield text[:start] + piece + rest
        return
    yield text


def _group(text: str, start: int) -> tuple[int, list[int]]:
    """Where the brace that opens at `start` closes (-1: nowhere), and its own commas."""
    depth = 0
    commas: list[int] = []
    for place in range(start, len(text)):
        if text[place] == "{":
            depth += 1
        elif text[place] == "}":
            depth -= 1
            if depth == 0:
                return place, commas
        elif text[place] == "," and depth == 1:
            commas.append(place)
    return -1, commas


def _list(text: str, start: int, end: int, commas: list[int]) -> Iterator[str]:
    ends = [start, *commas, end]
    for left, right in pairwise(ends):
        yield from expand_braces(text[left + 1 : right])


def _range(first: str, last: str, step: str | None) -> Iterator[str]:
    padded = any(number.lstrip("-").startswith("0") and len(number.lstrip("-")) > 1 for number in (first, last))
    width = max(len(first), len(last)) if padded else 0
    start, end = int(first), int(last)
    stride = max(1, abs(int(step or 1)))
    numbers = range(start, end + 1, stride) if start <= end else range(start, end - 1, -stride)
    return (f"{number:0{width}d}" for number in numbers)
