"""`anmok labels`: label sets that live in a store, encoded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anmok.cli import options
from anmok.cli.output import emit, say, show_progress
from anmok.errors import LabelError

__all__ = ["app"]

app = typer.Typer(
    help="Label sets in a store: add, change, delete single labels.\n\nNothing else is encoded again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Set = Annotated[Path, typer.Argument(metavar="SET", help="Folder of the label set, for example cups.anmok.")]


@app.command()
def add(
    label_set: Set,
    labels: Annotated[str, typer.Argument(metavar="LABELS", help="a,b,c, a text file or a CSV.")],
    model: options.Model = "anmok-mini",
    templates: Annotated[
        str | None,
        typer.Option(help="As for classify; a set keeps what it was made with.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> None:
    """Add labels, or change those that are there.

    A set that is not there yet is made.

    \b
    anmok labels add cups.anmok mug,teacup,컵
    anmok classify photo.jpg --labels cups.anmok
    """
    from anmok.classify import LabelSet, LabelStore

    given = LabelSet.parse(labels)
    with show_progress(), LabelStore(label_set, options.open_encoder(model), templates=templates) as store:
        changes = store.add(given)
        total = len(store)
    if json:
        emit({"added": list(changes.added), "changed": list(changes.changed), "unchanged": len(changes.unchanged)})
    else:
        say(f"{len(changes.added)} added, {len(changes.changed)} changed, {total} labels in {label_set}")


@app.command()
def delete(
    label_set: Set,
    names: Annotated[str, typer.Argument(metavar="NAMES", help="a,b,c")],
    model: options.Model = "anmok-mini",
) -> None:
    """Delete labels by name."""
    from anmok.classify import LabelStore

    with LabelStore(label_set, options.open_encoder(model), create=False) as store:
        store.delete([name.strip() for name in names.split(",") if name.strip()])
        say(f"{len(store)} labels in {label_set}")


@app.command("list")
def list_labels(label_set: Set, model: options.Model = "anmok-mini", json: options.Json = False) -> None:
    """Show the labels of a set."""
    from anmok.classify import LabelStore

    with LabelStore(label_set, options.open_encoder(model), create=False, readonly=True) as store:
        for label in store.labels.labels:
            if json:
                emit({"label": label.name, "synonyms": label.synonyms, "ko": label.ko, "parent": label.parent})
            else:
                print(label.name)


@app.command()
def calibrate(
    label_set: Set,
    examples: Annotated[
        Path,
        typer.Argument(
            metavar="EXAMPLES",
            help="A folder with a folder of pictures per label, and one named `none` for pictures of none of them.",
        ),
    ],
    model: options.Model = "anmok-mini",
) -> None:
    """Fit what counts as "none of these" from a few examples.

    Ten of each already help.
    """
    from anmok.classify import LabelStore, open_classifier
    from anmok.pictures import find_pictures

    encoder = options.open_encoder(model)
    classifier = open_classifier(label_set, encoder)
    pictures: list[Path] = []
    truth: list[str | None] = []
    for folder in sorted(path for path in examples.iterdir() if path.is_dir()):
        inside = list(find_pictures(folder))
        pictures += inside
        truth += [None if folder.name == "none" else folder.name] * len(inside)
    if not pictures:
        raise LabelError(f"{examples}: no pictures in its folders; expected {examples}/LABEL/picture.jpg")
    with show_progress():
        threshold = classifier.fit_threshold(pictures, truth)
    with LabelStore(label_set, encoder, create=False) as store:
        store.threshold = threshold
    say(f"threshold {threshold:.3f}, from {len(pictures)} pictures, kept in {label_set}")
