"""What a search returns, and the one place where raw cosines become scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.store import Match

__all__ = ["Calibrator", "Hit", "as_hits"]


@dataclass(frozen=True)
class Hit:
    """One picture that a search found.

    `path`: of the picture file (posix), or the key it was added under.
    `score`: higher is better; what a calibrator made of the cosine, or the cosine itself.
    `cosine`: raw similarity to the query, -1..1. Not comparable between queries or encoders.
    `found`: whether the calibrator says that this is what was asked for; None without a calibrator.
    `metadata`: path, root, folder, name, width, height, bytes, mtime, hash, and the caller's own.
    """

    path: str
    score: float
    cosine: float
    found: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Calibrator(Protocol):
    """Turns the cosines of one search into scores that mean the same for every query."""

    def __call__(
        self, query: NDArray[np.float32], cosines: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Query vector [d] and the hits' cosines [k] → scores [k], and which of them count as found."""


def as_hits(
    matches: Sequence[Match], query: NDArray[np.float32], calibrate: Calibrator | None = None
) -> list[Hit]:
    """Matches of the store → hits, best first."""
    cosines = np.array([match.score for match in matches], np.float32)
    scores, found = calibrate(query, cosines) if calibrate and matches else (cosines, None)
    hits = [
        Hit(
            path=match.key,
            score=float(scores[row]),
            cosine=float(cosines[row]),
            found=None if found is None else bool(found[row]),
            metadata=dict(match.metadata),
        )
        for row, match in enumerate(matches)
    ]
    return sorted(hits, key=lambda hit: -hit.score)  # stable: ties keep the order of the store
