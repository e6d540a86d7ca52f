"""A page of picture cards: what was recognised, and what a search found.

The page is one file: style and small copies of the pictures are inside it, nothing is
fetched, and every text from outside is escaped (Jinja's autoescape).
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.errors import PictureError
from anmok.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

__all__ = ["Card", "Page", "Row", "environment", "render", "thumbnail", "write"]


@dataclass(frozen=True)
class Card:
    """One picture on the page.

    `name` and `note` stand under it; `bars` are (text, 0..1) pairs, best first; `badge` is a
    short word in the corner; `error` replaces the picture where it could not be used; a `faint`
    card is drawn pale, because what it says is not sure.
    """

    name: str
    picture: str = ""  # data URI, from `thumbnail`
    bars: tuple[tuple[str, float], ...] = ()
    badge: str = ""
    note: str = ""
    error: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Row:
    """A heading and its cards. `message` stands in their place when there are none ("nothing found")."""

    title: str
    cards: Sequence[Card] = ()
    subtitle: str = ""
    message: str = ""
    compact: bool = False  # small cards in one line (search results) rather than a grid


@dataclass(frozen=True)
class Page:
    """What a page shows, top to bottom. `facts` are the small figures under the title."""

    title: str
    subtitle: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[Row] = ()
    footer: str = ""
    language: str = "en"


def render(page: Page) -> str:
    """The page as HTML."""
    return environment().get_template("page.html.j2").render(page=page)


def environment() -> Environment:
    """Where the templates are; what they are given is escaped."""
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("anmok.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)


def write(page: Page, path: str | Path) -> Path:
    """Write the page to `path` (replaced whole, never half written); makes its folder."""
    path = Path(path)
    write_whole(path, render(page).encode())
    return path


def thumbnail(picture: Any, *, side: int = 320) -> str:
    """A small copy as a data URI: JPEG, longest side at most `side` pixels. Empty where the picture is bad."""
    from anmok.pictures import read

    try:
        image = read(picture)
    except PictureError:
        return ""
    image.thumbnail((side, side))
    if max(image.size) < side // 2:  # a tiny picture (an 8 x 8 digit) is enlarged with its pixels sharp
        factor = side // 2 // max(image.size)
        image = image.resize((image.width * max(factor, 1), image.height * max(factor, 1)), resample=0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
