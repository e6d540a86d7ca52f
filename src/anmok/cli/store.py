"""`anmok store`: the care of collections and label sets, which are both stores."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from anmok.cli import options
from anmok.cli.output import emit, finish, say

__all__ = ["app"]

app = typer.Typer(
    help="Care of what is on disk: check, compact, copy, recover.\n\nCollections and label sets are both stores.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of a collection or a label set.")]


@app.command()
def check(store: StorePath, json: options.Json = False) -> None:
    """Look whether everything on disk is sound."""
    from anmok.store import Store

    with Store.open(store, readonly=True) as opened:
        report = opened.check()
    if json:
        emit(asdict(report))
    else:
        for problem in report.problems:
            say(problem)
        verdict = "sound" if report.ok else "NOT sound: restore a backup, or anmok store recover"
        say(f"{store}: {report.rows} rows of {report.dimension}, index {report.index}, {verdict}")
    finish(len(report.problems))


@app.command()
def compact(store: StorePath) -> None:
    """Give the room of deleted rows back to the disk."""
    from anmok.store import Store

    with Store.open(store) as opened:
        freed = opened.compact()
    say(f"{freed / 1e6:.1f} MB freed")


@app.command()
def backup(
    store: StorePath,
    target: Annotated[Path, typer.Argument(help="A new folder for the copy.")],
) -> None:
    """Copy a store to a new folder, also while it is in use."""
    from anmok.store import Store

    with Store.open(store, readonly=True) as opened:
        opened.backup(target)
    say(f"copied to {target}")


@app.command()
def recover(store: StorePath) -> None:
    """Save the readable rows of a damaged store into a new one.

    The damaged files are kept aside.
    """
    from anmok.store import Store

    report = Store.recover(store)
    say(
        f"{report.rows} rows saved, {report.incomplete} were incomplete and are left out; "
        f"the damaged files are in {report.damaged}"
    )
    if report.contract_lost:
        say("what made the vectors could not be read: index the folder again")


@app.command()
def duplicates(
    store: StorePath,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Cosine from which two pictures count as one.")] = 0.97,
    json: options.Json = False,
) -> None:
    """List groups of near-duplicate pictures of a collection, the largest first."""
    from anmok.collections import Collection

    with Collection(store, readonly=True) as collection:
        groups = collection.near_duplicates(threshold)
    for group in groups:
        if json:
            emit({"pictures": list(group.pictures), "cosine": group.cosine})
        else:
            print("\n".join([f"{group.cosine:.3f}", *(f"  {picture}" for picture in group.pictures)]))
    if not json:
        say(f"{len(groups)} groups")


@app.command()
def recall(
    store: StorePath,
    queries: Annotated[int, typer.Option(min=1, help="How many of the collection's own pictures to ask with.")] = 100,
    top: options.Top = 10,
    json: options.Json = False,
) -> None:
    """Measure the share of the exact best results that a search finds."""
    from anmok.collections import Collection

    with Collection(store, readonly=True) as collection:
        share = collection.recall(queries, top)
        total = len(collection)
    if json:
        emit({"recall": share, "top": top, "queries": min(queries, total), "pictures": total})
    else:
        say(f"recall@{top} {share:.4f}, asked with {min(queries, total)} of {total} pictures")
