"""Texts that stand beside many different pictures: a shop's slogan, or the name of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.clean.measure import text_key
from anmok.pairs import PairError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.clean.measure import Measured
    from anmok.clean.settings import CleanSettings
    from anmok.pairs import PairSource

__all__ = ["Repeats", "drop_repeated", "repeats"]

FEW = 10  # pictures; a text that stands beside fewer is never one too many
LISTED = 10

Repeats = tuple[tuple[str, int], ...]


def repeats(measured: Measured, source: PairSource, count: int = LISTED) -> Repeats:
    """The texts that stand beside most pictures, and beside how many; texts beside one picture only are left out.

    Pictures with the same pixels count once.
    """
    keys, owners, pictures = _counted(measured)
    places = np.lexsort((owners, -pictures))[:count]
    found = ((_text(source, int(owners[k]) - measured.held_out, int(keys[k])), int(pictures[k])) for k in places)
    return tuple((text, number) for text, number in found if number > 1 and text is not None)


def drop_repeated(measured: Measured, source: PairSource, settings: CleanSettings) -> None:
    """Drop texts that stand beside too many pictures, and pairs that have no other text."""
    if settings.max_repeats >= 1 or "repeated text" in settings.keep:
        return
    keys, _, pictures = _counted(measured)
    most = max(FEW, settings.max_repeats * len(np.unique(measured.looks.pixels[measured.left()])))
    too_many = dict(zip(keys[pictures > most].tolist(), pictures[pictures > most].tolist(), strict=True))
    hit = np.isin(np.array(measured.keys, np.uint64), list(too_many))
    for row in np.unique(np.array(measured.owners, np.int64)[hit]).tolist():
        if row in measured.dropped:
            continue
        texts = _texts(source, row - measured.held_out)
        left = [text for text in texts if text not in measured.texts.get(row, {})]
        verdicts = {
            text: ("repeated text", f"stands beside {too_many[text_key(text)]} pictures, above {most:.0f}")
            for text in left
            if text_key(text) in too_many
        }
        measured.drop_texts(row, verdicts, len(left) - len(verdicts))


def _counted(measured: Measured) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Each different text as its key, the first row that has it, and how many different pictures do."""
    keys, owners = np.array(measured.keys, np.uint64), np.array(measured.owners, np.int64)
    there = measured.alive()[owners]
    keys, owners = keys[there], owners[there]
    pictures = measured.looks.pixels[owners]
    order = np.lexsort((owners, pictures, keys))
    keys, owners, pictures = keys[order], owners[order], pictures[order]
    different = np.ones(len(keys), bool)  # another text, or another picture, than the one before
    different[1:] = (keys[1:] != keys[:-1]) | (pictures[1:] != pictures[:-1])
    distinct, first, count = np.unique(keys[different], return_index=True, return_counts=True)
    return distinct, owners[different][first], count


def _text(source: PairSource, number: int, key: int) -> str | None:
    return next((text for text in _texts(source, number) if text_key(text) == key), None)


def _texts(source: PairSource, number: int) -> tuple[str, ...]:
    try:
        return source.read(number).texts
    except PairError:  # it could be read a while ago: someone is at work on the files
        return ()
