"""The ways to adapt on features, each with a few settings to choose among by cross-validation.

zero-shot            the labels' words, nothing learned
prompts              the set of templates that suits these pictures best
Tip-Adapter          words, and a memory of the examples
tuned Tip-Adapter    the same, the memory learned
probe                a linear map that starts from the words
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from anmok.adapt.head import Head, log_softmax

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Known", "Method", "Prompts", "ZeroShot", "picked", "temperature"]

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Known:
    """What a method may learn from.

    `vectors`: unit vectors of pictures [n, d]; `columns` [n, c]; `targets` int64 [n], which of m labels.
    `texts`: set of templates → unit vectors of the labels [m, d]; the first is what zero-shot uses.
    `scale`: the encoder's logit scale.
    `names`: of the labels, for methods that write them anew.
    """

    vectors: Array
    columns: Array
    targets: NDArray[np.int64]
    texts: Mapping[str, Array]
    scale: float
    names: tuple[str, ...] = ()

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Known:
        """Some of the examples."""
        return replace(self, vectors=self.vectors[rows], columns=self.columns[rows], targets=self.targets[rows])

    @property
    def words(self) -> Array:
        """The labels as zero-shot sees them, [m, d]."""
        return next(iter(self.texts.values()))

    @cached_property
    def one_hot(self) -> Array:
        """[n, m]."""
        hot: Array = np.eye(len(self.words))[self.targets]
        return hot

    @cached_property
    def warmth(self) -> float:
        """The scale at which zero-shot is as sure of these examples as it is right (no more than the encoder's own)."""
        return self.scale * temperature(self.scale * (self.vectors @ self.words.T), self.targets)


class Method(Protocol):
    """A way to adapt."""

    name: str
    settings: tuple[str, ...]  # what is chosen among, in words

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """A head for each of the settings, or for one of them."""


class ZeroShot:
    """The labels' words in the usual templates."""

    name = "zero-shot"
    settings: tuple[str, ...] = ("",)

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """Nothing is learned."""
        return [Head.linear(known.scale * known.words)]


class Prompts:
    """Zero-shot with the set of templates that suits best (Radford et al. 2021, arXiv 2103.00020, section 3.1.4)."""

    name = "prompts"

    def __init__(self, names: tuple[str, ...]) -> None:
        self.settings = names

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """One head for each set of templates."""
        return [Head.linear(known.scale * known.texts[name]) for name in picked(self.settings, only)]


def picked(settings: tuple[Setting, ...], only: int | None) -> tuple[Setting, ...]:
    """All of the settings, or the one that is asked for."""
    return settings if only is None else settings[only : only + 1]


def temperature(logits: Array, targets: NDArray[np.int64]) -> float:
    """The factor on logits [n, m] at which the targets [n] are most probable, 0.001 to 1,000.

    The likelihood is smooth and has one summit over the factor, so it is halved in on (golden section). Examples are
    joined by one that is wrong for each of the labels' number, so that a handful without a mistake does not ask for
    endless certainty.

    Source: Guo et al. 2017 (arXiv 1706.04599), section 4.2; the factor is 1/T.
    """
    if not len(logits):
        return 1.0
    rows = np.arange(len(logits))
    prior = 1.0 / len(logits)

    def loss(power: float) -> float:
        log = log_softmax(np.exp(power) * logits)
        return float(-log[rows, targets].mean() - prior * log.mean(axis=1).mean())

    low, high = np.log(1e-3), np.log(1e3)
    ratio = (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) <= loss(right) else (left, high)
    return float(np.exp((low + high) / 2))
