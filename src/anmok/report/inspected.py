"""A page of what an inspection found: faults first, each beside its heat map, and where all scores lie."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from anmok.files import write_whole
from anmok.inspect import heat_layer
from anmok.report.page import Page, environment, thumbnail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from anmok.inspect import Inspection

__all__ = ["InspectedPage", "Part", "Scale", "part_of", "scale_of", "write_inspected"]

LAYER = 320  # longest side of the heat map on the page, pixels


@dataclass(frozen=True)
class Part:
    """One inspected picture on the page. `boxes` are left, top, width and height in percent of the picture."""

    name: str
    picture: str = ""  # data URI
    heat: str = ""  # data URI, with transparency
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    note: str = ""
    error: str = ""
    shape: float = 4 / 3  # width over height


@dataclass(frozen=True)
class Scale:
    """Where the scores lie, 0..1 from left to right: of good parts at the fit, sound parts, faults; the threshold."""

    good: Sequence[float]
    sound: Sequence[float]
    faults: Sequence[float]
    threshold: float


@dataclass(frozen=True)
class InspectedPage(Page):
    """A page with parts. `warning` stands above all."""

    faults: Sequence[Part] = ()
    sound: Sequence[Part] = ()
    broken: Sequence[Part] = ()
    scale: Scale | None = None
    warning: str = ""
    promise: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def part_of(picture: Any, inspection: Inspection, note: str) -> Part:
    """One picture and what was found on it."""
    name = Path(inspection.picture).name
    if inspection.error is not None:
        return Part(name, error=inspection.error)
    width, height = inspection.size
    boxes = tuple(
        (
            100 * box.left / width,
            100 * box.top / height,
            100 * (box.right - box.left) / width,
            100 * (box.bottom - box.top) / height,
        )
        for box in inspection.boxes
    )
    return Part(name, thumbnail(picture, side=480), _layer(inspection), boxes, note, shape=width / height)


def scale_of(inspections: Sequence[Inspection], good: NDArray[np.float32], threshold: float) -> Scale | None:
    """Places of all scores on one line, by their logarithm: faults can lie far out. None without any score."""
    found = [one for one in inspections if one.error is None]
    if not found:
        return None
    everything = np.maximum([*(one.score for one in found), *good.tolist(), threshold], 1e-9)
    low, high = np.log(everything.min()), np.log(everything.max())

    def place(score: float) -> float:
        return float((np.log(max(score, 1e-9)) - low) / max(high - low, 1e-9))

    return Scale(
        [place(score) for score in good.tolist()],
        [place(one.score) for one in found if not one.fault],
        [place(one.score) for one in found if one.fault],
        place(threshold),
    )


def write_inspected(page: InspectedPage, path: str | Path) -> Path:
    """Write the page to `path`, whole; makes its folder."""
    path = Path(path)
    write_whole(path, environment().get_template("inspected.html.j2").render(page=page).encode())
    return path


def _layer(inspection: Inspection) -> str:
    """The heat map as a data URI, in the shape of the picture. Empty where there is nothing to see."""
    layer = heat_layer(inspection.heat)
    if layer.getchannel("A").getbbox() is None:
        return ""
    width, height = inspection.size
    shrink = LAYER / max(width, height)
    layer = layer.resize((max(1, round(width * shrink)), max(1, round(height * shrink))), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    layer.save(buffer, "WEBP", quality=60)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
