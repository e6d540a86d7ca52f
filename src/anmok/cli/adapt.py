"""`anmok adapt`, and `anmok adapt next`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from anmok.cli import options
from anmok.cli.output import emit, finish, say, show_progress, table

if TYPE_CHECKING:
    import click

    from anmok.adapt import Adaptation

__all__ = ["app"]


class _FitUnlessNamed(TyperGroup):
    """`anmok adapt FOLDER` is `anmok adapt fit FOLDER`; a folder named like a command is given as ./next."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["fit", *args]
        return super().parse_args(context, args)


app = typer.Typer(
    cls=_FitUnlessNamed,
    help="Make a recogniser from a few labelled pictures.\n\n"
    "anmok adapt FOLDER is short for anmok adapt fit FOLDER; anmok adapt next says which pictures to label next.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def fit(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER_OR_CSV",
            help="A folder with a folder of pictures per label, or a table with the columns filepath and label; "
            "its other columns (numbers, words) are used too. Pictures labelled none show none of the labels.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the recogniser.")] = Path("recogniser"),
    shots: Annotated[
        int | None,
        typer.Option(min=1, help="Use at most so many pictures of each label, drawn at random.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option("--labels", "-l", help="CSV of labels with synonyms, ko, parent.", show_default=False),
    ] = None,
    model: options.Model = "anmok-mini",
    tune: Annotated[
        bool,
        typer.Option(
            "--tune", help="Also train the words before the labels (CoOp) and the towers (LoRA): minutes; anmok[train]."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
    json: options.Json = False,
) -> None:
    """Make a recogniser from labelled pictures.

    Words alone, sets of templates, a memory of the examples and a linear probe are tried on pictures that they have not
    seen; what is surely better than words alone is kept, else words alone are.

    \b
    anmok adapt cups/ --output cups-recogniser
    anmok adapt parts.csv --shots 16 --labels parts-labels.csv
    anmok classify photo.jpg --labels cups-recogniser
    """
    from anmok.adapt import adapt, read_examples
    from anmok.classify import LabelSet
    from anmok.feature_cache import FeatureCache

    examples = read_examples(source, labels=None if labels is None else LabelSet.read(labels))
    if shots is not None:
        examples = examples.shots(shots, seed=seed)
    with show_progress():
        encoder = options.open_encoder(model)
        embed = FeatureCache(encoder).embed
        result = adapt(encoder, examples, embed=embed, tune=tune, folder=output / ".tuning", seed=seed)
    write(result, output)
    if json:
        emit({"recogniser": str(output), **result.classifier.facts})
    else:
        _print(result, output)
    finish(len(result.examples.problems))


@app.command("next")
def propose_next(
    pictures: options.Pictures,
    recogniser: Annotated[Path, typer.Option("--recogniser", "-r", help="Folder that `anmok adapt` made.")],
    top: options.Top = 20,
    json: options.Json = False,
    html: options.Html = None,
) -> None:
    """Say which of some unlabelled pictures are most worth labelling.

    Those it is least sure of, and no two alike. Label them, put them to the others, and adapt again.

    \b
    anmok adapt next unlabelled/ --recogniser cups-recogniser --top 20
    """
    from anmok.adapt import AdaptedClassifier, propose
    from anmok.feature_cache import FeatureCache

    files = options.expand(pictures)
    with show_progress():
        classifier = AdaptedClassifier.load(recogniser)
        embeddings = FeatureCache(classifier.encoder).embed(files, on_error="skip")
        probabilities = classifier.probabilities(embeddings)
        rows = propose(embeddings.vectors.astype(float), probabilities, top)
        answers = classifier.classify_embeddings(embeddings[rows], top=3) if rows else []
    chosen = [files[int(embeddings.indices[row])] for row in rows]
    for rank, (picture, predictions) in enumerate(zip(chosen, answers, strict=True), 1):
        guess = predictions[0]
        if json:
            emit({"rank": rank, "picture": picture, "label": guess.label, "probability": guess.probability})
        else:
            print(f"{picture}  {guess.probability:.0%} {guess.label}")
    if html is not None:
        from anmok.cli.classify import card_of
        from anmok.report import Page, Row, write

        cards = [card_of(picture, predictions, {}) for picture, predictions in zip(chosen, answers, strict=True)]
        title = "Label these next · 다음에 라벨을 붙일 사진"
        say(f"report: {write(Page(title, rows=[Row('The least sure, no two alike', cards)]), html)}")
    for failure in embeddings.failed:
        say(f"{failure.picture}: {failure.error}")
    finish(len(embeddings.failed))


def write(result: Adaptation, folder: Path) -> None:
    """The recogniser, its card and its report."""
    from anmok.files import write_whole
    from anmok.report.adapted import card_text, write_adapted

    result.classifier.save(folder)
    write_whole(folder / "README.md", card_text(result).encode())
    write_adapted(result, folder / "report.html")


def _print(result: Adaptation, output: Path) -> None:
    from anmok.adapt.adapting import interval
    from anmok.report.adapted import verdict

    rows: list[list[Any]] = []
    for one in result.checked:
        low, high = interval(one)
        mean, error = one.gain(result.zero_shot)
        gain = "" if one is result.zero_shot else f"{100 * mean:+.1f} ± {100 * error:.1f}"
        mark = "✓ " if one is result.chosen else "  "
        rows.append([f"{mark}{one.name}", f"{one.accuracy:.1%}", f"{low:.0%} to {high:.0%}", gain])
    table("", ["  method", "recognised", "95%", "against words alone"], rows)
    for problem in result.examples.problems:
        say(f"left out: {problem.name}: {problem.reason}")
    wanted = [f"{one.label} {one.more}" for one in result.advice if one.more][:5]
    if wanted:
        say(f"more pictures would help most: {', '.join(wanted)}")
    say(f"{verdict(result)}\nrecogniser: {output}  report: {(output / 'report.html').resolve().as_uri()}")
