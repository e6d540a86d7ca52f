"""The list of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from anmok.cli import (
    adapt,
    classify,
    clean,
    collections,
    demo,
    doctor,
    embed,
    evaluate,
    explain,
    inspect,
    labels,
    models,
    serve,
    store,
    train,
)

__all__ = ["app"]

app = typer.Typer(
    name="anmok",
    help="anmok (안목): recognise and search pictures with words, in Korean and English, on an ordinary processor.",
    epilog="Start with: anmok classify photo.jpg --labels 'cat,dog,컵'  ·  anmok index photos/ -c my.anmok  ·  "
    "anmok search '빨간 가방' -c my.anmok",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: boxes would load Markdown and cost every --help a third of its time
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from anmok import __version__

        typer.echo(f"anmok {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of anmok itself."""


for command in (
    classify.classify,
    collections.index,
    collections.search,
    embed.embed,
    evaluate.evaluate,
    explain.explain,
    clean.clean,
    train.train,
    models.models,
    doctor.doctor,
    demo.demo,
):
    app.command()(command)
app.add_typer(adapt.app, name="adapt")
app.add_typer(inspect.app, name="inspect")
app.add_typer(labels.app, name="labels")
app.add_typer(serve.app, name="serve")
app.add_typer(store.app, name="store")
