"""A page of explanations: the picture, heat maps over it, and the text with what each word adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anmok.files import write_whole
from anmok.report.page import Page, environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["ExplainedPage", "Map", "Sentence", "render_explained", "write_explained"]


@dataclass(frozen=True)
class Map:
    """A picture with a title and a sentence under it: the plain picture, or one with a heat map over it."""

    title: str
    note: str
    picture: str  # data URI, from `thumbnail`
    name: str = ""  # of what is shown, for those who cannot see it


@dataclass(frozen=True)
class Sentence:
    """A text, word by word, each with what it adds to the score (below 0: what it takes away)."""

    words: Sequence[tuple[str, float]]

    @property
    def colored(self) -> list[tuple[str, float, float]]:
        """Word, what it adds, and how strong that is beside the strongest word, -1..1."""
        most = max((abs(added) for _, added in self.words), default=0.0) or 1.0
        return [(word, added, added / most) for word, added in self.words]


@dataclass(frozen=True)
class ExplainedPage:
    """What the page shows: title and figures as of any page, maps side by side, then the sentence."""

    page: Page
    maps: Sequence[Map]
    sentence: Sentence | None = None
    colors: Sequence[str] = ()  # of the scale under the maps, from left to right, as CSS writes them
    signed: bool = True  # whether it has a side for what speaks against


def render_explained(explained: ExplainedPage) -> str:
    """The page as HTML."""
    return environment().get_template("explained.html.j2").render(page=explained.page, explained=explained)


def write_explained(explained: ExplainedPage, path: Path) -> Path:
    """Write the page to `path` (replaced whole, never half written); makes its folder."""
    write_whole(path, render_explained(explained).encode())
    return path
