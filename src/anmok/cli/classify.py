"""`anmok classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli import options
from anmok.cli.output import emit, finish, say, show_progress
from anmok.errors import SettingsError

if TYPE_CHECKING:
    from anmok.adapt import AdaptedClassifier
    from anmok.classify import Classifier, Recognizer, StoredClassifier
    from anmok.classify.classifier import Predictions
    from anmok.encoder import Encoder
    from anmok.report import Card

__all__ = ["card_of", "classify", "make_classifier", "predictions_record"]

NONE = "none of these · 해당 없음"


def classify(
    pictures: options.Pictures,
    labels: options.Labels,
    model: options.Model = "anmok-mini",
    templates: options.Templates = "small",
    top: options.Top = 5,
    back_off: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Answer with the parent label where no label is this probable.", show_default=False
        ),
    ] = None,
    error_rate: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            show_default=False,
            help="With a recogniser: the smallest set of labels that misses the right one this often (0.05).",
        ),
    ] = None,
    json: options.Json = False,
    html: options.Html = None,
) -> None:
    """Recognise pictures with words alone, or with a recogniser.

    \b
    anmok classify cup.jpg --labels cup,plate,spoon
    anmok classify photos/ --labels labels.csv --html report.html
    anmok classify a.jpg b.jpg --labels 컵,접시,숟가락 --json
    anmok classify photos/ --labels my-recogniser --error-rate 0.05
    """
    classifier: Recognizer
    with show_progress():
        if _is_recogniser(labels):
            files, results, classifier = _by_recogniser(pictures, labels, model, top, back_off, error_rate)
        else:
            if error_rate is not None:
                raise SettingsError("--error-rate needs a recogniser: make one with anmok adapt, and give its folder")
            files = options.expand(pictures)
            classifier = make_classifier(options.open_encoder(model), labels, templates)
            results = classifier.classify(files, top=top, on_error="skip", back_off=back_off)
    for picture, predictions in zip(files, results, strict=True):
        if json:
            emit(predictions_record(picture, predictions))
        else:
            _print(picture, predictions)
    if html is not None:
        say(f"report: {_page(files, results, classifier, html)}")
    finish(sum(predictions.error is not None for predictions in results))


def make_classifier(encoder: Encoder, labels: str, templates: str) -> Classifier | StoredClassifier:
    """A classifier from what `--labels` was given: a,b,c, a file, or a label set in a store.

    Raises:
        LabelError: the labels cannot be used.
        SettingsError: a file was named that is not there.
    """
    from anmok.classify import Classifier, LabelSet, open_classifier

    if not labels.strip():
        raise SettingsError("--labels is empty: give a,b,c, a text file, a CSV or a label set")
    path = Path(labels)
    if _is_folder(path):
        return open_classifier(path, encoder)
    if "," not in labels and path.suffix in (".txt", ".csv", ".anmok") and not path.exists():
        raise SettingsError(f"--labels {labels}: no such file")
    return Classifier(encoder, LabelSet.parse(labels), templates=templates)


def _is_recogniser(labels: str) -> bool:
    if not _is_folder(Path(labels)):  # then the room need not be loaded
        return False
    from anmok.adapt import is_recogniser

    return is_recogniser(labels)


def _by_recogniser(
    pictures: list[str], folder: str, model: str, top: int, back_off: float | None, error_rate: float | None
) -> tuple[list[str], list[Predictions], AdaptedClassifier]:
    """Pictures, or a table of pictures with columns, through a recogniser; it loads its own encoder.

    Raises:
        FingerprintMismatch: another model was named.
    """
    from anmok.adapt import AdaptedClassifier, read_pictures

    encoder = None if model == options.DEFAULT_MODEL else options.open_encoder(model)
    classifier = AdaptedClassifier.load(folder, encoder)
    table: dict[str, tuple[str, ...]] = {}
    if len(pictures) == 1 and Path(pictures[0]).suffix.lower() in {".csv", ".tsv"}:
        paths, table = read_pictures(Path(pictures[0]))
        files = [str(path) for path in paths]
    else:
        files = options.expand(pictures)
    results = classifier.classify(
        files, top=top, on_error="skip", back_off=back_off, columns=table, error_rate=error_rate
    )
    return files, results, classifier


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a long list of labels is no file name
        return False


def predictions_record(picture: str, predictions: Predictions) -> dict[str, object]:
    """One line of `--json`."""
    if predictions.error is not None:
        return {"picture": picture, "error": predictions.error}
    return {
        "picture": picture,
        "found": predictions.found,
        "predictions": [
            {"label": p.label, "probability": p.probability, "score": p.score, "match": p.match} for p in predictions
        ],
    }


def _print(picture: str, predictions: Predictions) -> None:
    if predictions.error is not None:
        say(f"{picture}: {predictions.error}")
        return
    print(picture + ("" if predictions.found else f"  ({NONE})"))
    for prediction in predictions:
        bar = "█" * round(20 * prediction.probability)
        print(f"  {prediction.probability:6.1%} {bar:<20} {prediction.label}")


def _page(files: list[str], results: list[Predictions], classifier: Recognizer, path: Path) -> Path:
    from anmok.report import Page, Row, write

    korean = korean_names(classifier, results)
    cards = [card_of(picture, found, korean) for picture, found in zip(files, results, strict=True)]
    facts = {"pictures": str(len(files)), "labels": str(len(classifier)), "model": classifier.encoder.name}
    return write(Page("What anmok sees · 안목이 본 것", facts=facts, rows=[Row("Pictures · 사진", cards)]), path)


def korean_names(classifier: Recognizer, results: list[Predictions]) -> dict[str, str]:
    """Korean names of the labels that were predicted, where they have one."""
    names = {prediction.label for predictions in results for prediction in predictions}
    return {label.name: label.ko for label in classifier.labels_named(names) if label.ko}


def card_of(picture: str, predictions: Predictions, korean: dict[str, str]) -> Card:
    """A report card of one picture and its labels, with their Korean names where they have one."""
    from anmok.report import Card, thumbnail

    name = Path(picture).name
    if predictions.error is not None:
        return Card(name, error=predictions.error)
    both = {name: f"{name} · {ko}" for name, ko in korean.items()}
    bars = tuple((both.get(p.label, p.label), p.probability) for p in predictions)
    sure = predictions.found
    return Card(name, thumbnail(picture), bars, badge="" if sure else NONE, faint=not sure)
