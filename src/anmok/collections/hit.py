"""What a search returns, and the one place where raw cosines become scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from anmok.collections.batch import file_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from anmok.embeddings import Embeddings
    from anmok.store import Match

__all__ = ["Calibrator", "Hit", "as_hits"]


@dataclass(frozen=True)
class Hit:
    """One picture that a search found.

    `path`: of the picture file (absolute, posix), or the key that it was added under.
    `score`: higher is better; what a calibrator makes of the cosine, or the cosine itself.
    `cosine`: raw similarity to the query, -1..1. Not comparable between queries or encoders.
    `found`: whether the calibrator takes it for what was asked for; None without a calibrator.
    `metadata`: path (below root), root, folder, name, width, height, bytes, mtime (seconds), hash,
        and the caller's own.
    """

    path: str
    score: float
    cosine: float
    found: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """The picture file; None for a picture that was added from memory."""
        file = file_of(self.metadata)
        return Path(file) if file is not None else None


class Calibrator(Protocol):
    """Turns the cosines of one search into scores that mean the same for every query."""

    def __call__(self, query: Embeddings, pictures: Embeddings) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """Query [1, d] and the pictures it found [k, d], best first → scores [k], and which count as found [k]."""


def as_hits(
    matches: Sequence[Match], query: Embeddings, pictures: Embeddings | None = None, calibrate: Calibrator | None = None
) -> list[Hit]:
    """Matches of the store (and, to calibrate, their vectors) → hits, best first."""
    scores: Sequence[float] | NDArray[np.float32] = [match.score for match in matches]
    found: NDArray[np.bool_] | None = None
    if calibrate is not None and pictures is not None and matches:
        scores, found = calibrate(query, pictures)
    hits = [
        Hit(
            path=match.key,
            score=float(scores[row]),
            cosine=match.score,
            found=None if found is None else bool(found[row]),
            metadata=match.metadata,
        )
        for row, match in enumerate(matches)
    ]
    return sorted(hits, key=lambda hit: -hit.score)  # stable: ties keep the order of the store
