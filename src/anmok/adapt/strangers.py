"""None of these: how to tell a picture of something else, and how well that works.

It is tested on labels that are held out entirely: nothing of them is learned, neither pictures nor words, and their
pictures are strangers. What tells them apart best is taken:

    certainty    the highest probability
    evidence     log Σ exp logits: how much speaks for anything at all (Liu et al. 2020, arXiv 2010.03759)
    nearness     cosine with the nearest example
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from anmok.adapt.head import softmax
from anmok.evaluate.metrics import auroc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anmok.adapt.head import Head
    from anmok.adapt.methods import Known

    Array = NDArray[np.float64]
    Rows = NDArray[np.intp]

__all__ = ["KINDS", "REFUSED", "StrangerTest", "familiarity", "find_strangers", "untested"]

KINDS = ("certainty", "evidence", "nearness")
REFUSED = 0.05  # share of pictures of the labels that may be taken for strangers
MOST_GROUPS = 5


@dataclass(frozen=True, eq=False)
class StrangerTest:
    """How strangers were told: by what, from where on, and how well.

    `kind`: one of KINDS. `threshold`: familiarity below which a picture is a stranger; `spread`: standard deviation of
    the familiarity of pictures of the labels. `areas`: kind → AUROC, empty where nothing could be held out.
    `accepted`: share of strangers taken for one of the labels; `refused`: of pictures of the labels taken for
    strangers.
    """

    kind: str
    threshold: float
    spread: float
    areas: dict[str, float]
    accepted: float | None
    refused: float
    strangers: int


def familiarity(kind: str, logits: Array, vectors: Array, examples: Array) -> Array:
    """How familiar each picture is, [n], higher is more.

    Args:
        kind: one of KINDS.
        logits: of the pictures [n, m].
        vectors: of the pictures, unit length [n, d].
        examples: vectors of the examples [k, d]; looked at for "nearness" only.
    """
    if kind == "nearness":
        return np.asarray((vectors @ examples.T).max(axis=1), np.float64)
    if kind == "certainty":
        return np.asarray(softmax(logits).max(axis=1), np.float64)
    highest = logits.max(axis=1)
    return np.asarray(highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1)), np.float64)


def find_strangers(
    fit: Callable[[Known], Head], known: Known, numbers: Rows, none: tuple[Array, Array] | None = None
) -> StrangerTest:
    """Find out how strangers are told.

    Args:
        fit: what learns a head.
        known: the examples.
        numbers: in which fold each is held out, [n].
        none: vectors [k, d] and columns [k, c] of pictures that are known to show none of the labels; they are
            strangers that nobody has to make up.
    """
    inside: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    outside: dict[str, list[Array]] = {kind: [] for kind in KINDS}
    labels = np.unique(known.targets)
    groups = np.array_split(np.random.default_rng(0).permutation(labels), min(MOST_GROUPS, max(len(labels) // 2, 1)))
    for turn, fold in enumerate(np.unique(numbers)):
        held_out = groups[turn % len(groups)] if none is None and len(groups) > 1 else np.empty(0, np.int64)
        away = np.isin(known.targets, held_out)
        learned, familiar = ~away & (numbers != fold), ~away & (numbers == fold)
        if not learned.any():
            continue
        part = _without(known.take(learned), held_out)
        head = fit(part)
        asked = [(known.vectors[familiar], known.columns[familiar], inside)]
        if none is not None:
            asked.append((*none, outside))
        elif turn < len(groups):
            asked.append((known.vectors[away], known.columns[away], outside))
        for vectors, columns, scores in asked:
            logits = head.logits(vectors, columns)
            for kind in KINDS:
                scores[kind].append(familiarity(kind, logits, vectors, part.vectors))
    return _best({k: np.concatenate(v) for k, v in inside.items()}, outside)


def untested(logits: Array) -> StrangerTest:
    """Told by certainty, refusing held-out pictures [n, m] as seldom as allowed; no strangers were seen."""
    sure = familiarity("certainty", logits, np.empty(0), np.empty(0))
    threshold, spread = float(np.quantile(sure, REFUSED)), max(float(sure.std()), 1e-9)
    return StrangerTest("certainty", threshold, spread, {}, None, float((sure < threshold).mean()), 0)


def _without(known: Known, labels: NDArray[np.int64]) -> Known:
    """The same without some labels; the others are numbered anew."""
    if not len(labels):
        return known
    kept = np.setdiff1d(np.arange(len(known.words)), labels)
    texts = {name: vectors[kept] for name, vectors in known.texts.items()}
    names = tuple(known.names[label] for label in kept) if known.names else ()
    return replace(known, targets=np.searchsorted(kept, known.targets), texts=texts, names=names)


def _best(inside: dict[str, Array], outside: dict[str, list[Array]]) -> StrangerTest:
    strangers = {kind: np.concatenate(parts) for kind, parts in outside.items() if parts}
    areas = {kind: auroc(inside[kind], scores) for kind, scores in strangers.items() if len(scores)}
    kind = max(areas, key=lambda name: areas[name]) if areas else "nearness"
    threshold = float(np.quantile(inside[kind], REFUSED))
    accepted = float((strangers[kind] >= threshold).mean()) if areas else None
    spread = max(float(inside[kind].std()), 1e-9)
    refused = float((inside[kind] < threshold).mean())
    return StrangerTest(kind, threshold, spread, areas, accepted, refused, len(strangers[kind]) if areas else 0)
