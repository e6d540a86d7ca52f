"""`anmok models`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from anmok.cli import options
from anmok.cli.output import emit, table

__all__ = ["models"]


def models(
    license: Annotated[  # noqa: A002 (the option's name)
        Literal["any", "commercial"], typer.Option(help="commercial: only those whose license allows it.")
    ] = "any",
    json: options.Json = False,
) -> None:
    """List recommended public checkpoints: license, languages measured, size and cost per picture."""
    from dataclasses import asdict

    from anmok.checkpoints.recommended import RECOMMENDED

    chosen = [model for model in RECOMMENDED if license == "any" or model.commercial]
    if json:
        for model in chosen:
            emit(asdict(model))
        return
    columns = ["name", "license", "commercial", "parameters", "GFLOPs/picture", "size", "languages measured"]
    rows = [
        [
            model.name,
            model.license,
            "yes" if model.commercial else "no",
            f"{model.parameters / 1e6:.0f}M",
            f"{model.gflops:.1f}" if model.gflops else "",
            f"{model.image_size} px",
            ", ".join(f"{score.language} {score.value} ({score.measure})" for score in model.scores),
        ]
        for model in chosen
    ]
    table("", columns, rows)
