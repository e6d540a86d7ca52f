"""Between two models: as good on the new pictures, and better on the old ones.

Source: WiSE-FT, Robust Fine-tuning of Zero-shot Models (Wortsman et al. 2022, arXiv 2109.01903, equation 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.models.weights import as_float32
from anmok.tune.settings import TuneError

if TYPE_CHECKING:
    from anmok.models.weights import Array, Weights

__all__ = ["interpolate"]


def interpolate(zero_shot_weights: Weights, tuned_weights: Weights, share: float) -> dict[str, Array]:
    """(1 - share) · zero-shot + share · tuned, array by array: weights of a model between the two.

    Args:
        zero_shot_weights: named arrays of the model before tuning (`checkpoint.weights`).
        tuned_weights: those after it, of the same names and shapes.
        share: 0 gives the first and 1 the second, exactly. The authors recommend 0.5 where nothing is known.

    Raises:
        TuneError: the share is not in 0..1, or the two are not of one model.
    """
    if not 0 <= share <= 1:
        raise TuneError(f"share is {share:g}, expected 0 (before tuning) to 1 (after)")
    apart = sorted(zero_shot_weights.keys() ^ tuned_weights.keys())
    apart += [
        name
        for name in zero_shot_weights.keys() & tuned_weights.keys()
        if zero_shot_weights[name].shape != tuned_weights[name].shape
    ]
    if apart:
        raise TuneError(f"the two are not of one model: {apart[0]} differs in name or shape")
    if share in (0, 1):
        return dict(tuned_weights if share else zero_shot_weights)
    mixed = {}
    for name, first in zero_shot_weights.items():
        before, after = as_float32(first), as_float32(tuned_weights[name])
        mixed[name] = before + (after - before) * share  # what was not tuned stays as it is, to the bit
    return mixed
