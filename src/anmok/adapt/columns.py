"""What a table says beside its pictures, as numbers: a temperature, a price, a machine's name.

A number is brought to mean 0 and spread 1; a missing one lies at the mean and, where some were missing in the examples,
has a column of its own that says so. A word of a few becomes a column each; a word that no example has is none of them.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["ColumnEncoder", "Number", "Words"]

MOST_WORDS = 50  # of a column; rarer ones are like new ones
FAR = 5.0  # spreads; what lies farther out counts as this far
MISSING = ("", "na", "n/a", "nan", "null", "none", "-", "?")


@dataclass(frozen=True)
class Number:
    """A column of numbers."""

    mean: float
    spread: float
    missing: bool  # whether some examples had none

    def encode(self, cells: Sequence[str]) -> NDArray[np.float64]:
        """[n] cells → [n, 1], or [n, 2] with whether it is missing."""
        values = np.array([_number(cell) for cell in cells])
        gone = np.isnan(values)
        scaled = np.clip((np.where(gone, self.mean, values) - self.mean) / self.spread, -FAR, FAR)
        return np.stack([scaled, gone] if self.missing else [scaled], axis=1).astype(np.float64)


@dataclass(frozen=True)
class Words:
    """A column of words."""

    words: tuple[str, ...]

    def encode(self, cells: Sequence[str]) -> NDArray[np.float64]:
        """[n] cells → [n, words]; new and missing words are all zeros."""
        place = {word: number for number, word in enumerate(self.words)}
        encoded = np.zeros((len(cells), len(self.words)))
        for row, cell in enumerate(cells):
            if cell.strip() in place:
                encoded[row, place[cell.strip()]] = 1
        return encoded


@dataclass(frozen=True)
class ColumnEncoder:
    """Columns by name. `left_out`: name → why it says nothing."""

    columns: dict[str, Number | Words]
    left_out: dict[str, str]

    @staticmethod
    def fit(table: Mapping[str, Sequence[str]]) -> ColumnEncoder:
        """Learn scales and words from the cells of some examples."""
        columns: dict[str, Number | Words] = {}
        left_out: dict[str, str] = {}
        for name, cells in table.items():
            found = _fit(cells)
            if isinstance(found, str):
                left_out[name] = found
            else:
                columns[name] = found
        return ColumnEncoder(columns, left_out)

    def encode(self, table: Mapping[str, Sequence[str]], count: int) -> NDArray[np.float64]:
        """Cells of `count` pictures → [n, c]. A column that the table has not is missing everywhere."""
        parts = [column.encode(table.get(name) or [""] * count) for name, column in self.columns.items()]
        return np.concatenate(parts, axis=1) if parts else np.empty((count, 0))

    def describe(self) -> dict[str, Any]:
        """As JSON takes it; `from_description` takes it back."""
        return {
            name: {"kind": "number" if isinstance(column, Number) else "words", **asdict(column)}
            for name, column in self.columns.items()
        }

    @staticmethod
    def from_description(described: Mapping[str, Mapping[str, Any]]) -> ColumnEncoder:
        """From what `describe` gave."""
        columns: dict[str, Number | Words] = {}
        for name, column in described.items():
            if column["kind"] == "number":
                columns[name] = Number(float(column["mean"]), float(column["spread"]), bool(column["missing"]))
            else:
                columns[name] = Words(tuple(column["words"]))
        return ColumnEncoder(columns, {})


def _fit(cells: Sequence[str]) -> Number | Words | str:
    """A column, or why it is left out."""
    there = [cell.strip() for cell in cells if cell.strip().lower() not in MISSING]
    if len(set(there)) < 2:
        return "it is the same for all" if there else "it is empty"
    values = np.array([_number(cell) for cell in there])
    if not np.isnan(values).any():
        return Number(float(values.mean()), max(float(values.std()), 1e-12), len(there) < len(cells))
    counts = Counter(there)
    words = tuple(word for word, count in counts.most_common(MOST_WORDS) if count > 1)
    return Words(words) if words else "each of its words is there once only, as a name or a number would be"


def _number(cell: str) -> float:
    """NaN for what is none; "1,234.5" and "23%" are numbers too."""
    text = cell.strip().removesuffix("%")
    if text.lower() in MISSING:
        return math.nan
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
