"""What more pictures would bring: how accuracy grows with examples, and which label wants how many more."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok.adapt.validation import learn
from anmok.evaluate.metrics import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.adapt.examples import Examples
    from anmok.adapt.methods import Known
    from anmok.adapt.validation import Checked

    Rows = NDArray[np.intp]

__all__ = ["Advice", "Curve", "advise", "learning_curve"]

ASKED = 0.1  # share of mistakes of a label that is good enough
USUAL = 0.35  # exponent of learning curves where the examples say nothing of it, and the least that is believed


@dataclass(frozen=True)
class Curve:
    """`points`: examples of each label and share recognised. `exponent`: mistakes fall as examples^-exponent."""

    points: tuple[tuple[int, float], ...]
    exponent: float


@dataclass(frozen=True)
class Advice:
    """One label: how many examples, how many of them recognised when held out, and how many more it wants."""

    label: str
    examples: int
    recognised: float
    low: float
    high: float
    more: int


def learning_curve(chosen: Checked, zero_shot: Checked, known: Known, numbers: Rows, *, seed: int) -> Curve:
    """Accuracy on held-out folds with 0, 1, 2, 4, … examples of each label, and how mistakes fall.

    The exponent is the slope of a line through log mistakes over log examples (Hestness et al. 2017, arXiv 1712.00409),
    kept within USUAL and 1.
    """
    points = [(0, zero_shot.accuracy)]
    most = int(np.median(np.bincount(known.targets)[np.unique(known.targets)]))
    random = np.random.default_rng(seed)
    shots = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < most * (1 - 1 / len(np.unique(numbers)))]
    for count in shots:
        right = []
        for fold in np.unique(numbers):
            outside, inside = np.flatnonzero(numbers != fold), np.flatnonzero(numbers == fold)
            drawn = [random.permutation(outside[known.targets[outside] == t])[:count] for t in np.unique(known.targets)]
            head = learn(chosen, known.take(np.concatenate(drawn)))
            found = head.logits(known.vectors[inside], known.columns[inside]).argmax(axis=1)
            right.append(found == known.targets[inside])
        points.append((count, float(np.concatenate(right).mean())))
    points.append((most, chosen.accuracy))
    return Curve(tuple(points), _exponent(points[1:]))


def advise(chosen: Checked, examples: Examples, curve: Curve) -> tuple[Advice, ...]:
    """Advice for each label that has examples, those that want most first.

    A label wants as many as should halve its mistakes, or bring them to one in ten, if they fall as those of all do.
    Its share of mistakes is drawn towards that of all by one example, so that a single picture does not cry for dozens.
    """
    hits, mean = chosen.hits, 1 - chosen.accuracy
    found = []
    for target in np.unique(examples.targets):
        mine = hits[examples.targets == target]
        count, share = len(mine), float(mine.mean())
        low, high = wilson(share, count)
        mistakes = ((1 - share) * count + mean) / (count + 1)
        aim = max(ASKED, mistakes / 2)
        more = math.ceil(count * (mistakes / aim) ** (1 / curve.exponent) - count) if mistakes > aim else 0
        found.append(Advice(examples.labels[int(target)].name, count, share, low, high, more))
    return tuple(sorted(found, key=lambda one: (-one.more, one.recognised)))


def _exponent(points: list[tuple[int, float]]) -> float:
    usable = [(count, 1 - share) for count, share in points if share < 1]
    if len({count for count, _ in usable}) < 3:
        return USUAL
    x, y = np.log([count for count, _ in usable]), np.log([mistakes for _, mistakes in usable])
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return float(np.clip(-slope, USUAL, 1.0))
