"""Minimize a smooth function of many numbers: L-BFGS, in a screen of NumPy.

SciPy has it too, at 110 MB installed; here it is wanted for small convex problems only.
Source: Nocedal & Wright, Numerical Optimization, 2nd ed. 2006, algorithms 7.4 and 7.5; steps are halved until Armijo's
condition (3.4) holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["minimize"]

MEMORY = 10  # steps whose curvature is remembered
ARMIJO = 1e-4


def minimize(
    function: Callable[[Array], tuple[float, Array]], start: Array, *, steps: int = 200, tolerance: float = 1e-5
) -> Array:
    """The place where a function is smallest, as near as the tolerance asks.

    Args:
        function: place → value and gradient there, of the same shape as `start`.
        start: where to begin, of any shape.
        steps: at most so many.
        tolerance: it ends where no part of the gradient is larger than this times the larger of 1 and the value.

    Returns:
        Of the same shape as `start`.
    """
    place = np.asarray(start, np.float64)
    value, gradient = function(place)
    past: list[tuple[Array, Array]] = []  # change of place, change of gradient
    for _ in range(steps):
        if np.abs(gradient).max(initial=0.0) <= tolerance * max(1.0, abs(value)):
            break
        direction = _direction(gradient, past)
        slope = float((direction * gradient).sum())
        if slope >= 0:  # rounding has spoiled the memory
            past, direction = [], -gradient
            slope = -float((gradient**2).sum())
        length = 1.0 if past else min(1.0, 1.0 / float(np.linalg.norm(gradient)))
        for _ in range(30):
            there = place + length * direction
            new_value, new_gradient = function(there)
            if new_value <= value + ARMIJO * length * slope:
                break
            length /= 2
        else:
            break  # no smaller value within reach of rounding
        moved, turned = there - place, new_gradient - gradient
        if float((moved * turned).sum()) > 1e-12 * float((turned**2).sum()):
            past = [*past[1 - MEMORY :], (moved, turned)]
        place, value, gradient = there, new_value, new_gradient
    return place


def _direction(gradient: Array, past: list[tuple[Array, Array]]) -> Array:
    """Minus the gradient times the inverse curvature, from the steps so far (algorithm 7.4)."""
    q = gradient.copy()
    shares = []
    for moved, turned in reversed(past):
        share = float((moved * q).sum()) / float((moved * turned).sum())
        shares.append(share)
        q -= share * turned
    if past:
        moved, turned = past[-1]
        q *= float((moved * turned).sum()) / float((turned**2).sum())
    for (moved, turned), share in zip(past, reversed(shares), strict=True):
        q += moved * (share - float((turned * q).sum()) / float((moved * turned).sum()))
    direction: Array = -q
    return direction
