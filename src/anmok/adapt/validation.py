"""How well each method would do on new pictures: cross-validation, and the choice that it allows.

An example is always judged by what was learned without it. The setting of a method is chosen without it too: for the
examples of a fold, the setting is the one that does best on those of the others.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.adapt.folds import fold_numbers, groups_of
from anmok.adapt.head import log_softmax
from anmok.adapt.methods import temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.adapt.head import Head
    from anmok.adapt.methods import Known, Method

    Array = NDArray[np.float64]
    Rows = NDArray[np.intp]

__all__ = ["Checked", "Folds", "check", "choose", "deal", "learn"]

ENOUGH = 300  # examples from which on one deal is as good as several
REPEATS = 3


@dataclass(frozen=True, eq=False)
class Folds:
    """In which fold each example is held out, int [r, n]: dealt r times."""

    numbers: Rows

    @property
    def repeats(self) -> int:
        """How often they were dealt."""
        return len(self.numbers)


@dataclass(frozen=True, eq=False)
class Checked:
    """A method, judged on examples that it had not seen.

    `setting`: the one chosen on all folds, in words.
    `factor`: on its logits, at which they are as sure as they are right.
    `logits`: of the held-out examples, each by the setting chosen without it, times its factor, [r, n, m].
    `seconds`: of the whole check.
    `way`: the method and the number of its setting, to learn a head by; None where it is no head on these features.
    """

    name: str
    setting: str
    factor: float
    logits: Array
    targets: NDArray[np.int64]
    seconds: float
    way: tuple[Method, int] | None = None

    @property
    def hits(self) -> Array:
        """Share of the deals in which each example was recognised, [n]."""
        right: Array = (self.logits.argmax(axis=2) == self.targets).mean(axis=0)
        return right

    @property
    def accuracy(self) -> float:
        """Share of examples recognised."""
        return float(self.hits.mean())

    @property
    def losses(self) -> Array:
        """Minus the log of the probability of what each example shows, the mean of the deals, [n]."""
        rows = np.arange(len(self.targets))
        lost: Array = np.mean([-log_softmax(one)[rows, self.targets] for one in self.logits], axis=0)
        return lost

    def gain(self, other: Checked) -> tuple[float, float]:
        """How much more it recognises than another, and the standard error of that."""
        difference = self.hits - other.hits
        error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else np.inf
        return float(difference.mean()), float(error)


def deal(known: Known, *, seed: int) -> Folds:
    """Folds for some examples."""
    groups = groups_of(known.vectors)
    repeats = 1 if len(known.targets) >= ENOUGH else REPEATS
    return Folds(np.stack([fold_numbers(known.targets, groups, seed=seed + turn) for turn in range(repeats)]))


def check(methods: Sequence[Method], known: Known, folds: Folds) -> list[Checked]:
    """Judge methods on the same folds."""
    with progress.task("trying methods", len(methods)) as advance:
        found = []
        for method in methods:
            found.append(_check(method, known, folds))
            advance(1)
    return found


def choose(checked: Sequence[Checked]) -> Checked:
    """The method to ship; the first of `checked` is zero-shot, which needs no reason.

    Another must recognise more than zero-shot by at least a standard error of the difference. Of those that do, the
    likeliest (smallest mean loss) among the ones that are within a standard error of the most accurate. One that brings
    an encoder of its own must be better than all that that gives by as much again.
    """
    zero_shot = checked[0]
    better = [one for one in checked[1:] if one.way is not None and _surely(one, zero_shot)]
    chosen = zero_shot
    if better:
        best = max(better, key=lambda one: one.accuracy)
        near = [one for one in better if one is best or not _surely(best, one)]
        chosen = min(near, key=lambda one: float(one.losses.mean()))
    heavy = [one for one in checked[1:] if one.way is None and _surely(one, chosen) and _surely(one, zero_shot)]
    return max(heavy, key=lambda one: one.accuracy, default=chosen)


def _surely(one: Checked, other: Checked) -> bool:
    """Whether one recognises more than the other by at least a standard error of the difference."""
    mean, error = one.gain(other)
    return mean > 0 and mean >= error


def _check(method: Method, known: Known, folds: Folds) -> Checked:
    start = time.perf_counter()
    n, m, rows = len(known.targets), len(known.words), np.arange(len(known.targets))
    chosen = np.empty((folds.repeats, n, m))
    losses = np.empty((folds.repeats, len(method.settings), n))
    factors = np.empty((folds.repeats, len(method.settings)))
    for turn, numbers in enumerate(folds.numbers):
        held_out = held_out_logits(method, known, numbers)  # [s, n, m]
        for setting, logits in enumerate(held_out):
            factors[turn, setting] = temperature(logits, known.targets)
            held_out[setting] = logits * factors[turn, setting]
            losses[turn, setting] = -log_softmax(held_out[setting])[rows, known.targets]
        for fold in np.unique(numbers):
            inside = numbers == fold
            outside = ~inside if (~inside).any() else inside
            best = int(losses[turn][:, outside].mean(axis=1).argmin())
            chosen[turn, inside] = held_out[best][inside]
    setting = int(losses.mean(axis=(0, 2)).argmin())
    factor = float(np.exp(np.log(factors[:, setting]).mean()))
    way, seconds = (method, setting), time.perf_counter() - start
    return Checked(method.name, method.settings[setting], factor, chosen, known.targets, seconds, way)


def held_out_logits(method: Method, known: Known, numbers: Rows) -> Array:
    """Logits of every example by every setting, learned without the example's fold, [s, n, m]."""
    logits = np.empty((len(method.settings), len(known.targets), len(known.words)))
    for fold in np.unique(numbers):
        inside = numbers == fold
        for setting, head in enumerate(method.fit(known.take(~inside))):
            logits[setting, inside] = head.logits(known.vectors[inside], known.columns[inside])
    return logits


def learn(checked: Checked, known: Known) -> Head:
    """The head of the chosen setting, learned from some examples."""
    assert checked.way is not None
    method, setting = checked.way
    (head,) = method.fit(known, setting)
    return head.scaled(checked.factor)
