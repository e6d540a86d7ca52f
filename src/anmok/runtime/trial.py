"""What towers are tried with: everyday pictures and texts as they take them, some to calibrate with, the rest to judge.

Pictures: every third to calibrate; the others, and their mirror images, to judge. Texts: every third to calibrate; the
others to judge, and at their end the names of the kinds of things that the pictures show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from anmok import progress
from anmok.everyday import KINDS, everyday_photographs, everyday_pictures, everyday_texts
from anmok.pictures import read
from anmok.runtime.beginnings import no_past, shares_beginnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint

__all__ = ["Feed", "Session", "Tower", "Trial", "embed"]

Tower = Literal["image", "text"]
PHOTOGRAPHS = 8
Feed = dict[str, "NDArray[Any]"]


class Session(Protocol):
    """A graph in an engine."""

    def run(self, names: list[str], feed: Feed) -> list[NDArray[Any]]:
        """The outputs of these names."""


class Trial:
    """Inputs of one tower of a checkpoint: `calibration` two at a time, `judged` sixteen at a time."""

    def __init__(self, checkpoint: Checkpoint, tower: Tower) -> None:
        self._checkpoint, self._tower = checkpoint, tower
        things: list[Any] = everyday_pictures() if tower == "image" else list(everyday_texts())
        self._first, self._rest = things[::3], [thing for i, thing in enumerate(things) if i % 3]
        if tower == "image":
            self._rest += [np.ascontiguousarray(thing[:, ::-1]) for thing in self._rest]
        else:
            self._rest += KINDS

    def calibration(self) -> Iterator[Feed]:
        """A third of all."""
        return self._feeds(self._first, 2)

    def judged(self) -> Iterator[Feed]:
        """What was not calibrated with."""
        return self._feeds(self._rest, 16)

    def batch(self, size: int) -> Feed:
        """So many of them, for taking times."""
        return next(self._feeds((self._rest * size)[:size], size))

    def photographs(self) -> Iterator[Feed]:
        """Large JPEGs, each decoded whole and no larger than the transform needs."""
        needed = self._checkpoint.transform.needed
        for photograph in everyday_photographs(PHOTOGRAPHS):
            yield self._feed([read(photograph), read(photograph, needed=needed)])

    def _feeds(self, things: Sequence[Any], size: int) -> Iterator[Feed]:
        for start in range(0, len(things), size):
            yield self._feed(things[start : start + size])

    def _feed(self, things: Sequence[Any]) -> Feed:
        checkpoint = self._checkpoint
        if self._tower == "text":
            ids = checkpoint.tokenizer(list(things))
            words = checkpoint.spec.text
            return {"ids": ids, "past": no_past(words)} if shares_beginnings(checkpoint) else {"ids": ids}
        if checkpoint.transform.resize == "naflex":
            from anmok.models.graphs import naflex_inputs

            parts = zip(*(checkpoint.transform.patches(thing) for thing in things), strict=True)
            patches, mask, shapes = (np.array(part) for part in parts)
            return naflex_inputs(checkpoint.spec, patches, mask, shapes)
        return {"pixels": np.stack([checkpoint.transform(thing) for thing in things])}


def embed(session: Session, feeds: Iterator[Feed], what: str) -> NDArray[np.float32]:
    """All of them, [n, d]."""
    rows = []
    with progress.task(what) as advance:
        for feed in feeds:
            rows.append(session.run(["embedding"], feed)[0])
            advance(len(rows[-1]))
    return np.concatenate(rows)
