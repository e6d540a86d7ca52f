"""Icons and emoji of open icon sets, drawn as pictures: what thousands of things look like at their simplest.

One package holds them all as SVG with their licenses: `@iconify/json` (npm). Only sets under MIT, ISC, Apache 2.0, CC0
or CC BY are used. An icon's name is its caption ("game-icons:ice-skate" → "ice skate"). Names of held-out emoji are
left out, in whatever drawing, and so is a drawing that looks like a held-out picture (see `gather.py`).
"""

from __future__ import annotations

import colorsys
import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

SIDE = 96  # pixels
EMOJI = ("noto-v1", "emojione", "fluent-emoji", "streamline-emojis")
COLORED = (
    "streamline-color", "streamline-ultimate-color", "streamline-plump-color", "streamline-flex-color",
    "streamline-freehand-color", "streamline-kameleon-color", "icon-park", "flat-color-icons", "meteocons",
    "fluent-color", "marketeq",
)  # fmt: skip
ONE_COLOR = (
    "game-icons", "healthicons", "mdi", "ph", "fa7-solid", "pinhead", "temaki", "maki", "roentgen", "lucide", "tabler",
    "hugeicons", "medical-icon",
)  # fmt: skip
STYLES = {  # words of a name that tell how it is drawn, not what
    "fill", "filled", "outline", "outlined", "bold", "light", "thin", "duotone", "duo", "flat", "regular", "solid",
    "sharp", "rounded", "round", "alt", "negative", "color", "line", "linear", "twotone", "variant", "icon", "emoji",
    "24px", "remix",
}  # fmt: skip
SIGNS = {  # words of names that are signs of user interfaces: they say nothing of the world
    "arrow", "arrows", "align", "alignment", "chevron", "chevrons", "caret", "carets", "border", "format", "sort",
    "sorting", "logo", "brand", "off", "slash", "cursor", "layout", "margin", "padding", "text", "textbox", "font",
    "letter", "alpha", "numeric", "number", "distribute", "flip", "rotate", "merge", "git", "filter", "select",
    "selection", "zoom", "expand", "collapse", "minimize", "maximize", "menu", "dots", "grid", "column", "columns",
    "row", "rows", "table", "list", "tab", "tabs", "toggle", "radio", "checkbox", "button", "ui", "interface",
    "navigation", "upload", "download", "sync", "refresh", "login", "logout", "signal", "code", "api", "database",
    "server", "network", "wifi", "bluetooth", "usb", "cloud", "file", "files", "folder", "document", "documents",
    "page", "pages", "clipboard", "window", "browser", "app", "apps", "cog", "settings", "data", "chart", "graph",
    "axis", "square", "circle", "dot", "direction", "undo", "redo", "pathfinder", "subtract", "multiple", "people",
    "account", "user", "users", "add", "remove", "plus", "minus", "check", "cancel", "delete", "edit", "lock",
    "unlock", "alert", "warning", "help", "question", "info", "notification", "badge", "message", "chat", "comment",
    "mail", "email", "inbox", "send", "reply", "forward", "skip", "pause", "play", "stop", "record", "shuffle",
    "repeat", "volume", "video", "audio", "voice", "call", "phone", "sim", "view", "link", "share", "export",
    "import", "copy", "paste", "cut", "skin", "tone", "bitcoin", "crypto", "currency", "dollar", "euro", "pound",
    "yen", "yuan", "rupee", "lira", "won", "peso",
}  # fmt: skip


@dataclass(frozen=True)
class Icon:
    """`picture`: RGB, SIDE pixels square. `set`: of iconify. `name`: words, lower case."""

    picture: Image.Image
    set: str
    name: str

    @property
    def is_emoji(self) -> bool:
        return self.set in EMOJI


def draw_icons(folder: Path, *, without: Collection[str]) -> Iterator[Icon]:
    """Every usable icon, each once.

    Args:
        folder: the unpacked package (`json/NAME.json`).
        without: names of things that must not be drawn.
    """
    held_out = [set(name.split()) for name in without]
    for chosen in (*EMOJI, *COLORED, *ONE_COLOR):
        icons = json.loads((folder / "json" / f"{chosen}.json").read_text(encoding="utf-8"))
        random = np.random.default_rng(len(chosen))
        seen: set[str] = set()
        for key in icons["icons"]:
            name = plain_name(key)
            if not name or name in seen or any(held <= _singular(name) | set(name.split()) for held in held_out):
                continue
            if not is_thing(key, emoji=chosen in EMOJI):
                continue
            seen.add(name)
            yield Icon(_drawn(icons, key, random, one_color=chosen in ONE_COLOR), chosen, name)


def plain_name(key: str) -> str:
    """ "food-apple-outline" → "food apple"."""
    words = [word for word in key.lower().split("-") if word and word not in STYLES]
    while words and re.fullmatch(r"\d+|[a-z]", words[-1]):
        words.pop()
    return " ".join(words) if 0 < len(words) <= 5 else ""


def is_thing(key: str, *, emoji: bool) -> bool:
    words = set(key.lower().split("-"))
    if emoji:  # one skin and no gendered twin of each person, as in the other emoji
        people = key.startswith(("man-", "woman-", "men-", "women-", "family-", "couple-", "kiss-", "flag-"))
        return not (people or words & {"skin", "tone", "light", "dark", "medium", "button", "oclock", "thirty"})
    return not words & SIGNS


def _singular(name: str) -> set[str]:
    return {word.removesuffix("s") for word in name.split()}


def _drawn(icons: dict, key: str, random: np.random.Generator, *, one_color: bool) -> Image.Image:
    """On white; an icon of one color in any dark color on white or any light one on a dark ground."""
    import resvg_py

    icon = icons["icons"][key]
    wide, high = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {wide} {high}"
    ink, ground = _colors(random) if one_color else ("#000000", (255, 255, 255))
    size = SIDE - 2 * int(random.integers(2, 12))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" width="{size}" height="{size}" color="{ink}">{icon["body"]}</svg>'
    )
    drawing = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    picture.paste(drawing, ((SIDE - drawing.width) // 2, (SIDE - drawing.height) // 2), drawing)
    return picture


def _colors(random: np.random.Generator) -> tuple[str, tuple[int, int, int]]:
    hue, other = random.random(2)
    dark = _rgb(hue, random.uniform(0, 0.9), random.uniform(0, 0.55))
    light = _rgb(other, random.uniform(0, 0.35), random.uniform(0.85, 1))
    ink, ground = (light, dark) if random.random() < 0.25 else (dark, light)
    if random.random() < 0.4:
        ink, ground = dark, (255, 255, 255)
    return "#{:02x}{:02x}{:02x}".format(*ink), ground


def _rgb(hue: float, saturation: float, value: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
