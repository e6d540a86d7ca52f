"""From good pictures to a memory, and to what good pictures score that the memory does not hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.embeddings import Failure
from anmok.errors import InspectionError, PictureError
from anmok.inspect.coreset import greedy_coreset
from anmok.inspect.heat import enlarge
from anmok.inspect.look import features_of, look
from anmok.inspect.measure import measure
from anmok.inspect.memory import Memory
from anmok.inspect.turning import disturbed, turned_features

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from anmok.encoder import Picture
    from anmok.inspect.look import Source
    from anmok.inspect.tiling import Tiling

__all__ = ["FEW", "Fitted", "fit_few", "fit_many"]

FEW = 8  # good pictures up to which "few-shot" is chosen
FOLDS = 5
POOL = 32768  # places among which the coreset is chosen; of more a random part is taken
MOST = 4096  # features that are kept at most: each one costs time on every picture that is inspected
SHARE = 0.25  # of the pool that is kept where that is fewer
GAIN = 0.7  # turned copies are used where they bring what good pictures score below this share


@dataclass
class Fitted:
    """A memory, and what the good pictures scored: `scores` [n], `peaks` [n] of their maps.

    `calibrated`: whether these are good pictures (not disturbed copies of the only one).
    """

    memory: Memory
    scores: NDArray[np.float32]
    peaks: NDArray[np.float32]
    pictures: int
    places: int  # that the good pictures have together
    turned: bool = False
    calibrated: bool = True
    failed: list[Failure] = field(default_factory=list)


def fit_many(
    source: Source, pictures: Sequence[Picture], tiling: Tiling, *, entries: int, false_alarms: float, seed: int
) -> Fitted:
    """PatchCore's memory of many good pictures.

    Where a third of them is enough for the promise, that third is held out of the memory. Otherwise the memory is made
    in FOLDS folds and each picture is measured by the folds that it is not in, so that all of them are used for both.

    Features are asked for twice, once for the memory and once to measure the pictures, so that few are held at a time.
    """
    rng = np.random.default_rng(seed)
    each = max(64, POOL // len(pictures))
    samples: dict[int, NDArray[np.float32]] = {}
    places, failed = 0, []
    with progress.task("looking at good pictures", len(pictures)) as advance:
        for index, _, features in look(source, pictures, tiling):
            if isinstance(features, PictureError):
                failed.append(Failure(index, features.picture, features.reason))
            else:
                flat = _flat(features)
                places += len(flat)
                samples[index] = flat[rng.permutation(len(flat))[:each]]
            advance(1)
    fold_of = _assign(sorted(samples), false_alarms, rng)
    folds = 1 + max(fold_of.values())
    kept = _keep(
        [np.concatenate([samples.pop(i) for i in sorted(samples) if fold_of[i] == fold]) for fold in range(folds)],
        entries,
        share=SHARE,
        rng=rng,
    )
    memory = Memory.of(kept)
    held_out = [index for index, fold in fold_of.items() if folds > 1 or fold < 0]
    scores, peaks = [], []
    with progress.task("measuring good pictures", len(held_out)) as advance:
        for position, _, features in look(source, [pictures[i] for i in held_out], tiling):
            if not isinstance(features, PictureError):  # else: gone since it was first read
                fold = fold_of[held_out[position]]
                score, peak = _measured(memory, features, tiling, fold if folds > 1 else None)
                scores.append(score)
                peaks.append(peak)
            advance(1)
    if not scores:
        raise InspectionError("the good pictures could be read once but not a second time: are they being moved?")
    return Fitted(
        memory, np.array(scores, np.float32), np.array(peaks, np.float32), len(fold_of), places, failed=failed
    )


def fit_few(source: Source, canvases: Sequence[Image.Image], tiling: Tiling, *, entries: int, seed: int) -> Fitted:
    """AnomalyDINO's memory of one good picture or a few: every place of them.

    With two or more, each picture is a fold of its own. Turned copies are added where they bring the good pictures
    nearer to each other; with one picture there is no telling, and they are added. The scores of one picture are those
    of slightly disturbed copies of it: a guess.
    """
    rng = np.random.default_rng(seed)
    looks = features_of(source, canvases, tiling)
    plain = [_flat(features) for features in looks]
    places = sum(map(len, plain))
    with progress.task("turning good pictures", len(plain)) as advance:
        turned = []
        for canvas, flat in zip(canvases, plain, strict=True):
            turned.append(np.concatenate([flat, turned_features(source, canvas, tiling)]))
            advance(1)
    if len(looks) == 1:
        memory = Memory.of(_keep(turned, entries, share=1.0, rng=rng), relative=False)
        copies = features_of(source, list(disturbed(canvases[0])), tiling)
        scores, peaks = _all_measured(memory, copies, [None] * len(copies), tiling)
        return Fitted(memory, scores, peaks, 1, places, turned=True, calibrated=False)
    fits = []
    for folds in (plain, turned):
        memory = Memory.of(_keep(folds, entries, share=1.0, rng=rng), relative=False)
        fits.append((memory, *_all_measured(memory, looks, range(len(looks)), tiling)))
    use = bool(np.median(fits[1][1]) < GAIN * np.median(fits[0][1]))
    memory, scores, peaks = fits[use]
    return Fitted(memory, scores, peaks, len(looks), places, turned=use)


def _assign(indices: Sequence[int], false_alarms: float, rng: np.random.Generator) -> dict[int, int]:
    """Which fold each picture goes into; -1: held out of a memory of one fold."""
    order = [int(i) for i in rng.permutation(indices)]
    third = len(order) // 3
    if third + 1 >= 1 / false_alarms:
        return {index: -1 if position < third else 0 for position, index in enumerate(order)}
    return {index: position % FOLDS for position, index in enumerate(order)}


def _keep(
    folds: Sequence[NDArray[np.float32]], entries: int, *, share: float, rng: np.random.Generator
) -> list[NDArray[np.float32]]:
    """Of each fold its part of `entries`, at most `share` of what there is."""
    kept = []
    for fold in folds:
        pool = fold if len(fold) <= POOL else fold[rng.choice(len(fold), POOL, replace=False)]
        count = max(1, min(min(entries, MOST) // len(folds), round(share * len(pool))))
        kept.append(pool[greedy_coreset(pool, count, rng=rng)])
    return kept


def _flat(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """[rows, columns, c] → [places, c]."""
    return features.reshape(-1, features.shape[-1])


def _all_measured(
    memory: Memory, looks: Sequence[NDArray[np.float32]], folds: Iterable[int | None], tiling: Tiling
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    measured = [_measured(memory, features, tiling, fold) for features, fold in zip(looks, folds, strict=True)]
    scores, peaks = np.array(measured, np.float32).T
    return scores, peaks


def _measured(memory: Memory, features: NDArray[np.float32], tiling: Tiling, fold: int | None) -> tuple[float, float]:
    """Score, and the highest value of the map."""
    score, values = measure(memory, features, fold=fold)
    return score, float(enlarge(values, tiling.canvas).max())
