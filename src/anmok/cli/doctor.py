"""`anmok doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli import options
from anmok.cli.output import emit, finish, table

if TYPE_CHECKING:
    from anmok.doctor import Finding

__all__ = ["doctor"]

MARKS = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "wrong": "[bold red]wrong[/]"}


def doctor(
    model: options.Model = "anmok-mini",
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure engines and precisions for this model now, and keep the best.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what this machine can do, and prove a checkpoint right.

    Golden non-square pictures and strings catch the silent mistakes: cropping where the model
    squashes, resizing without antialiasing, text that is not lower-cased or padded as it was in
    training. With torch and transformers installed, the towers are compared with theirs too. All this is in fp32; how
    the towers run in daily work, in which engine and precision and how near that is to fp32, stands at the end.
    """
    from anmok.doctor import examine_encoder, examine_engines, examine_machine

    machine = examine_machine()
    encoder = options.open_encoder(model, precision="fp32")
    checkpoint = examine_encoder(encoder)
    engines = examine_engines(encoder.checkpoint, measure=measure)
    if json:
        for finding in (*machine, *checkpoint, *engines):
            emit(asdict(finding))
    else:
        _print("This machine", machine)
        _print(f"Checkpoint {encoder.name} ({encoder.fingerprint})", checkpoint)
        _print("How it runs here", engines)
    finish(sum(finding.status == "wrong" for finding in (*machine, *checkpoint)))


def _print(title: str, findings: list[Finding]) -> None:
    from rich.markup import escape  # a detail may hold brackets: pip install 'anmok[heic]'

    table(title, ["", "", ""], [[MARKS[f.status], f.name, escape(f.detail)] for f in findings])
    print()
