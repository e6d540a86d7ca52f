"""`anmok demo`."""

from __future__ import annotations

import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli import collections, options
from anmok.cli.classify import card_of, korean_names, make_classifier
from anmok.cli.output import finish, say, show_progress

if TYPE_CHECKING:
    from anmok.collections import Collection
    from anmok.report import Row

__all__ = ["demo"]

# The last is not there, so that the page shows what "nothing found" looks like.
QUERIES = ("yellow stars", "바나나", "trousers", "숫자 8", "stars and galaxies", "a wedding cake")


def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Your own pictures instead.", show_default=False)
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", "-l", help="Your own labels (text file or CSV).", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to put the report.")] = Path("demo-report"),
    model: options.Model = "anmok-mini",
) -> None:
    """Classify and search pictures, and write a page to look at.

    Without a folder it uses the pictures that come with anmok: groceries and clothes that the embedded model has not
    seen, handwritten digits, drawn shapes, and photographs of things that it hardly knows.
    """
    with as_file(files("anmok") / "data" / "demo") as shipped:
        own = folder is not None
        label_file = labels or (shipped / "labels.csv")
        page, failed = _run(folder or shipped, label_file, model, output, own=own)
    say(f"\nReport: {page.resolve().as_uri()}")
    finish(failed)


def _run(folder: Path, labels: Path, model: str, output: Path, *, own: bool) -> tuple[Path, int]:
    from anmok.collections import Collection
    from anmok.report import Page, Row, write

    pictures = options.expand([str(folder)])
    start = time.perf_counter()
    with show_progress(), tempfile.TemporaryDirectory() as scratch:
        encoder = options.open_encoder(model)
        source = folder if own else "the package"
        say(f"{len(pictures)} pictures from {source}, {encoder.name} on {encoder.runs('image')}")
        classifier = make_classifier(encoder, str(labels), "small")
        results = classifier.classify(pictures, top=3, on_error="skip")
        classified = time.perf_counter()
        for picture, predictions in zip(pictures, results, strict=True):
            best = f"{predictions[0].probability:4.0%}  {predictions[0].label}" if predictions else predictions.error
            say(f"  {Path(picture).name:<36} {best}")
        collection = Collection(Path(scratch) / "demo.anmok", encoder=encoder)
        collection.add_folder(folder)
        recognised = dict.fromkeys(predictions[0].label for predictions in results if predictions)
        queries = list(recognised)[:6] if own else QUERIES
        rows = [_found(collection, query) for query in queries]
        rows.append(_similar(collection, pictures))
        collection.close()
    facts = {
        "pictures · 사진": str(len(pictures)),
        "labels · 라벨": str(len(classifier)),
        "recognised in · 인식": f"{classified - start:.1f} s",
        "recognised and searched in · 전체": f"{time.perf_counter() - start:.1f} s",
        "model · 모델": encoder.name,
    }
    korean = korean_names(classifier, results)
    cards = [card_of(picture, found, korean) for picture, found in zip(pictures, results, strict=True)]
    page = Page(
        "안목 anmok",
        "Recognised with words alone, nothing was trained for these labels. · 학습 없이 말만으로 알아본 결과입니다.",
        facts,
        [Row("What it sees · 알아본 것", cards), *rows],
        footer=_footer(own),
    )
    return write(page, output / "index.html"), sum(predictions.error is not None for predictions in results)


def _found(collection: Collection, query: str) -> Row:
    from anmok.report import Row

    hits = collection.search(query, top=6)
    message = "" if any(hit.found for hit in hits) else collections.NOTHING
    return Row(
        f"“{query}”", [collections.card_of(hit) for hit in hits], "Search by words · 말로 찾기", message, compact=True
    )


def _similar(collection: Collection, pictures: list[str]) -> Row:
    from anmok.report import Row

    query = Path(pictures[len(pictures) // 3])
    hits = [hit for hit in collection.search(query, top=7) if Path(hit.path).name != query.name]
    return Row(
        f"Like {query.name}",
        [collections.card_of(hit) for hit in hits[:6]],
        "Search by picture · 사진으로 찾기",
        compact=True,
    )


def _footer(own: bool) -> str:
    from anmok import __version__

    text = f"Made by anmok {__version__}. Everything ran on this machine; nothing was sent anywhere."
    if not own:
        text += "\nPhotographs: public domain, CC0 and MIT; handwritten digits: UCI, CC BY 4.0. "
        text += "Sources in the package's data/demo/NOTICE.md."
    return text
