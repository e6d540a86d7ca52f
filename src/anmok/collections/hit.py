"""What a search returns, and the one place where its raw cosines become scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.collections.batch import file_of
from anmok.scores import THRESHOLD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anmok.scores import Background, Terms
    from anmok.store import Match

__all__ = ["Hit", "as_hits"]


@dataclass(frozen=True)
class Hit:
    """One picture that a search found.

    `path`: of the picture file (absolute, posix), or the key that it was added under.
    `score`: 0..1, the same meaning for every query and encoder (see `anmok.scores`).
    `cosine`: raw similarity to the query, -1..1. Not comparable between encoders.
    `found`: whether it fits the query at all: the score is at or above 0.5.
    `metadata`: path (below root), root, folder, name, width, height, bytes, mtime (seconds), hash,
        and the caller's own.
    """

    path: str
    score: float
    cosine: float
    found: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path | None:
        """The picture file; None for a picture that was added from memory."""
        file = file_of(self.metadata)
        return Path(file) if file is not None else None


def as_hits(matches: Sequence[Match], background: Background, terms: Terms) -> list[Hit]:
    """Matches of the store, best first → hits, with scores that mean the same for every query (`anmok.scores`)."""
    cosines = np.array([match.score for match in matches], np.float32)
    scores = background.match_cosines(cosines, terms)
    return [
        Hit(match.key, float(score), match.score, bool(score >= THRESHOLD), match.metadata)
        for match, score in zip(matches, scores, strict=True)
    ]
