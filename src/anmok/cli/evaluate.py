"""`anmok evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli import options
from anmok.cli.output import finish, say, show_progress, table
from anmok.errors import SettingsError

if TYPE_CHECKING:
    from anmok.evaluate import Evaluation

__all__ = ["evaluate"]


def evaluate(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-d",
            help="A folder of WebDataset shards, a folder with a folder per class, or a CSV "
            "(filepath, title or label).",
            show_default=False,
        ),
    ] = None,
    digits: Annotated[bool, typer.Option(help="scikit-learn's handwritten digits (extra `evaluate`).")] = False,
    honesty: Annotated[
        bool, typer.Option(help="Also measure how well each kind of score tells present from absent.")
    ] = False,
    model: options.Model = "anmok-mini",
    templates: options.Templates = "small",
    markdown: Annotated[bool, typer.Option(help="Print a table for a document.")] = False,
    json: options.Json = False,
) -> None:
    """Measure a checkpoint: zero-shot accuracy and retrieval.

    In English and in Korean.

    \b
    anmok evaluate --data shards/ --digits
    anmok evaluate --data my-pictures/ --model google/siglip2-base-patch16-224
    """
    if data is None and not digits:
        raise SettingsError("nothing to measure: give --data PATH, --digits, or both")
    encoder = options.open_encoder(model)
    parts: list[Evaluation] = []
    with show_progress():
        if data is not None:
            from anmok.evaluate import evaluate as measure

            parts.append(measure(encoder, data, templates=templates))
        if data is not None and honesty:
            from anmok.evaluate.honesty import evaluate_scores

            parts.append(evaluate_scores(encoder, data))
        if digits:
            from anmok.evaluate import evaluate_digits

            parts.append(evaluate_digits(encoder))
    _print(sum(parts[1:], parts[0]), markdown=markdown, json=json)
    finish(sum(len(part.failed) for part in parts))


def _print(evaluation: Evaluation, *, markdown: bool, json: bool) -> None:
    if json:
        for line in evaluation.json_lines():
            print(line)
        return
    if markdown:
        print(evaluation.markdown())
        return
    rows = [
        [r.name, r.language, r.metric, f"{r.value:.1%}", f"{r.low:.1%}–{r.high:.1%}", f"{r.chance:.1%}", str(r.n)]
        for r in evaluation
    ]
    columns = ["data", "language", "metric", "value", "95%", "chance", "n"]
    table(f"{evaluation.encoder} ({evaluation.fingerprint})", columns, rows)
    for picture, reason in evaluation.failed:
        say(f"{picture}: {reason}")
