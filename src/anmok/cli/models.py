"""`anmok models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anmok.cli import options
from anmok.cli.output import emit, say, table

if TYPE_CHECKING:
    from anmok.checkpoints.recommended import Recommended

__all__ = ["models"]


def models(
    license: Annotated[
        Literal["any", "commercial"], typer.Option(help="commercial: only those whose license allows it.")
    ] = "any",
    json: options.Json = False,
) -> None:
    """List recommended public checkpoints.

    With license, languages measured, size and cost per picture.
    """
    from dataclasses import asdict

    from anmok.checkpoints.recommended import RECOMMENDED

    chosen = [model for model in RECOMMENDED if license == "any" or model.commercial]
    if json:
        for model in chosen:
            emit(asdict(model))
        return
    columns = ["name", "size", "GFLOPs", "px", "IN", "en", "ko", "license"]
    rows = [
        [
            model.name,
            f"{model.parameters / 1e6:.0f}M",
            f"{model.gflops:.0f}" if model.gflops else "",
            str(model.image_size),
            _score(model, "en", "ImageNet"),
            _score(model, "en", "XM3600"),
            _score(model, "ko", "XM3600"),
            model.license if model.commercial else f"[red]{model.license}[/]",
        ]
        for model in chosen
    ]
    table("", columns, rows)
    say(
        "size: parameters of both towers; GFLOPs: one picture; IN: ImageNet zero-shot top-1; "
        "en, ko: XM3600 text to picture recall@1. Percent. "
        "A license in red allows no commercial use. Sources in anmok/checkpoints/recommended.py."
    )


def _score(model: Recommended, language: str, measure: str) -> str:
    found = [score.value for score in model.scores if score.language == language and score.measure.startswith(measure)]
    return f"{found[0]:.1f}" if found else ""
