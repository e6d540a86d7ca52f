"""`anmok index` and `anmok search`."""

from __future__ import annotations

import json as jsons
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmok.cli import options
from anmok.cli.output import emit, finish, say, show_progress
from anmok.errors import QueryError

if TYPE_CHECKING:
    from anmok.collections import Collection, Hit
    from anmok.report import Card

__all__ = ["NOTHING", "card_of", "index", "search"]

NOTHING = "Nothing stands out for this query. · 뚜렷한 결과가 없습니다."


def index(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, with everything below it.")],
    collection: options.Collection,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="As for classify. An existing collection keeps the one it has.", show_default=False
        ),
    ] = None,
    verify: Annotated[bool, typer.Option(help="Read every file, also those that look unchanged.")] = False,
    retry: Annotated[bool, typer.Option(help="Try again what failed before.")] = False,
    re_encode: Annotated[
        bool, typer.Option("--re-encode", help="Move the collection to --model; goes on where it was cut short.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Bring a collection up to date with a folder of pictures.

    Only what is new or changed is encoded; what is gone is removed.

    \b
    anmok index photos/ --collection my.anmok
    anmok index photos/ --collection my.anmok --model google/siglip2-base-patch16-224 --re-encode
    """
    with show_progress(), _open(collection, model, re_encode=re_encode) as opened:
        report = opened.add_folder(folder, verify=verify, retry=retry)
        total = len(opened)
    if json:
        failed = [asdict(failure) for failure in report.failed]
        emit({**asdict(report), "failed": failed})
    else:
        for failure in report.failed:
            say(f"{failure.picture}: {failure.error}")
        say(
            f"{report.added} added, {report.unchanged} unchanged, {report.moved} moved, {report.changed} changed, "
            f"{report.removed} removed, {len(report.failed)} failed; {total} pictures in {collection}"
        )
    finish(len(report.failed))


def _open(path: Path, model: str | None, *, re_encode: bool) -> Collection:
    from anmok.collections import Collection

    if re_encode:
        opened = Collection(path)
        report = opened.re_encode(options.open_encoder(model or opened.contract["encoder"]))
        say(f"{report.changed} pictures encoded anew, {len(report.failed)} failed")
        return opened
    if model is None and path.exists():
        return Collection(path)
    return Collection(path, encoder=options.open_encoder(model or "anmok-mini"))


def search(
    query: Annotated[str, typer.Argument(help="Words, a picture file, or both: '2:red bag + photo.jpg - leather'.")],
    collection: options.Collection,
    top: options.Top = 10,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", "-w", help='Only pictures whose metadata fits: folder=bags, or JSON {"width": {"ge": 800}}.'
        ),
    ] = None,
    json: options.Json = False,
    html: options.Html = None,
) -> None:
    """Find pictures by words, by a picture, or by arithmetic of both.

    \b
    anmok search "빨간 가방" --collection my.anmok
    anmok search photo.jpg -c my.anmok --top 5 --html found.html
    anmok search "2:red bag + photo.jpg - leather" -c my.anmok --where folder=bags
    """
    from anmok.collections import Collection

    with Collection(collection, readonly=True) as opened:
        hits = opened.search(query, top=top, where=_filter(where or []))
        facts = {"pictures": str(len(opened)), "model": opened.contract["encoder"]}
    found = any(hit.found for hit in hits)
    for rank, hit in enumerate(hits, start=1):
        if json:
            emit({"rank": rank, "picture": hit.path, "score": hit.score, "cosine": hit.cosine, "found": hit.found})
        else:
            print(f"{rank:>3}  {hit.score:.2f}  {hit.path}")
    if not found:
        say(NOTHING)
    if html is not None:
        say(f"report: {_page(query, hits, facts, html, found=found)}")


def _filter(conditions: list[str]) -> dict[str, Any]:
    """`--where` as a mapping: NAME=VALUE, or a JSON object."""
    where: dict[str, Any] = {}
    for text in conditions:
        if text.lstrip().startswith("{"):
            try:
                where |= jsons.loads(text)
            except ValueError as error:
                raise QueryError(f"--where {text}: not JSON ({error})") from error
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise QueryError(f'--where {text}: expected NAME=VALUE or JSON such as {{"width": {{"ge": 800}}}}')
        where[name.strip()] = _value(value.strip())
    return where


def _value(text: str) -> Any:
    """A value from the command line: text that reads as a number means the number too (metadata keeps them apart)."""
    try:
        return {"in": [text, jsons.loads(text)]}
    except ValueError:
        return text


def _page(query: str, hits: list[Hit], facts: dict[str, str], path: Path, *, found: bool) -> Path:
    from anmok.report import Page, Row, write

    cards = [card_of(hit, badge="" if hit.found else "weak · 약함") for hit in hits]
    row = Row(f"“{query}”", cards, message="" if found else NOTHING)
    return write(Page("Search · 찾기", facts=facts, rows=[row]), path)


def card_of(hit: Hit, *, badge: str = "") -> Card:
    """A report card of one picture that a search found; pale where it does not stand out."""
    from anmok.report import Card, thumbnail

    note = f"score {hit.score:.2f} · cosine {hit.cosine:.2f}"
    return Card(Path(hit.path).name, thumbnail(hit.file or hit.path), note=note, badge=badge, faint=not hit.found)
