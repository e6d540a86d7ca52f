"""The report of `anmok adapt`: what was tried, how good it is, what it mistakes, and what more pictures bring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anmok.adapt.adapting import interval
from anmok.adapt.probe import ColumnProbe
from anmok.files import write_whole
from anmok.report.page import Card, Page, Row, environment, thumbnail

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.adapt import Adaptation

__all__ = ["card_text", "verdict", "write_adapted"]

WORST = 12  # pictures shown
SQUARE = 20  # labels up to which the whole confusion is drawn
PAIRS = 12  # else so many pairs
WIDTH, HEIGHT, LEFT, BOTTOM = 420, 250, 40, 34  # of a plot


@dataclass(frozen=True)
class Line:
    """One method in the table."""

    name: str
    setting: str
    accuracy: float
    low: float
    high: float
    gain: str
    seconds: float
    chosen: bool


def write_adapted(result: Adaptation, path: str | Path) -> Path:
    """Write the report as one file; returns its path."""
    path = Path(path)
    write_whole(path, _render(result).encode())
    return path


def verdict(result: Adaptation) -> str:
    """The outcome in a sentence."""
    chosen, zero_shot = result.chosen, result.zero_shot
    low, high = interval(chosen)
    share = f"{chosen.accuracy:.1%} ({low:.0%} to {high:.0%})"
    if chosen is zero_shot:
        return f"Nothing that was tried is surely better than words alone, so they are kept: {share} are recognised."
    name = chosen.name[0].upper() + chosen.name[1:]
    return f"{name} recognises {share} of pictures that it had not seen; words alone {zero_shot.accuracy:.1%}."


def card_text(result: Adaptation) -> str:
    """The recogniser's card, as Markdown."""
    classifier, examples = result.classifier, result.examples
    labels = ", ".join(label.name for label in list(examples.labels)[:20])
    more = f" and {len(examples.labels) - 20} more" if len(examples.labels) > 20 else ""
    lines = [
        f"# A recogniser of {len(examples.labels)} labels",
        "",
        f"{labels}{more}",
        "",
        f"- {verdict(result)}",
        f"- Made from {len(examples)} pictures with {classifier.encoder.name} ({classifier.encoder.fingerprint}); "
        "it refuses another encoder.",
        f"- Probabilities: calibration error {result.error:.3f} (before: {result.raw_error:.3f}), "
        f"{classifier.calibration.kind}.",
        f"- None of these: {_strangers(result)}",
        f"- Left out: {len(examples.problems)} pictures.",
        "",
        "Use it: `anmok classify PICTURES --labels THIS_FOLDER`. report.html shows how it was checked.",
        "",
    ]
    return "\n".join(lines)


def _strangers(result: Adaptation) -> str:
    test = result.strangers
    if test.accepted is None:
        return "not tested, which takes four labels, or pictures in a folder named `none`."
    return (
        f"{test.accepted:.0%} of pictures of labels it was not shown are taken for one of its labels, "
        f"{test.refused:.0%} of its own are refused (by {test.kind})."
    )


def _render(result: Adaptation) -> str:
    examples = result.examples
    page = Page(
        f"A recogniser of {len(examples.labels)} labels · 라벨 {len(examples.labels)}개 인식기",
        verdict(result),
        {
            "pictures · 사진": str(len(examples)),
            "recognised · 정확도": f"{result.chosen.accuracy:.1%}",
            "words alone · 말만으로": f"{result.zero_shot.accuracy:.1%}",
            "method · 방법": result.chosen.name,
            "calibration error · 보정 오차": f"{result.error:.3f}",
            "model · 모델": result.classifier.encoder.name,
        },
        footer=_footer(),
    )
    return (
        environment()
        .get_template("adapted.html.j2")
        .render(
            page=page,
            result=result,
            lines=_lines(result),
            sources=_sources(result),
            curve=_curve(result),
            curve_note=_curve_note(result),
            confusion=_confusion(result) if len(examples.labels) <= SQUARE else None,
            pairs=_pairs(result),
            worst=Row(
                "What it mistakes · 틀린 사진", _worst(result), "The surest mistakes on pictures it had not seen."
            ),
            reliability=_reliability(result),
            left_out=examples.problems,
        )
    )


def _lines(result: Adaptation) -> list[Line]:
    lines = []
    for one in result.checked:
        low, high = interval(one)
        mean, error = one.gain(result.zero_shot)
        gain = "" if one is result.zero_shot else f"{100 * mean:+.1f} ± {100 * error:.1f}"
        lines.append(Line(one.name, one.setting, one.accuracy, low, high, gain, one.seconds, one is result.chosen))
    return lines


def _sources(result: Adaptation) -> list[tuple[str, float, str]]:
    """Pictures alone, columns alone, both: name, accuracy, gain over pictures alone."""
    found = {one.name: one for one in result.checked}
    if ColumnProbe.name not in found:
        return []
    alone = found["probe"]
    rows = [("pictures alone · 사진만", alone), ("columns alone · 표만", found[ColumnProbe.name])]
    rows.append(("both · 함께", found["probe with columns"]))
    described = []
    for name, one in rows:
        mean, error = one.gain(alone)
        described.append((name, one.accuracy, "" if one is alone else f"{100 * mean:+.1f} ± {100 * error:.1f}"))
    return described


def _worst(result: Adaptation) -> list[Card]:
    cards, labels = [], result.examples.labels
    for row in result.worst[:WORST]:
        order = (-result.probabilities[row]).argsort()[:3]
        bars = tuple((labels[int(i)].name, float(result.probabilities[row, i])) for i in order)
        said = labels[int(result.examples.targets[row])].name
        picture = thumbnail(result.examples.pictures[row], side=240)
        cards.append(Card(Path(result.examples.names[row]).name, picture, bars, note=f"labelled · 라벨: {said}"))
    return cards


def _confusion(result: Adaptation) -> list[tuple[str, list[tuple[int, float]]]]:
    """Label, and for each label how many of it were taken for that, and the share."""
    counts, labels = result.confusion, result.examples.labels
    return [
        (labels[row].name, [(int(count), float(count) / max(int(counts[row].sum()), 1)) for count in counts[row]])
        for row in range(len(labels))
    ]


def _pairs(result: Adaptation) -> list[tuple[str, str, int, int]]:
    """The commonest mistakes: label, taken for, how many, of how many."""
    counts, labels = result.confusion, result.examples.labels
    found = [
        (labels[row].name, labels[column].name, int(counts[row, column]), int(counts[row].sum()))
        for row in range(len(labels))
        for column in range(len(labels))
        if row != column and counts[row, column]
    ]
    return sorted(found, key=lambda pair: -pair[2])[:PAIRS]


# --- plots: a few lines of SVG that take the page's colours


def _place(x: float, y: float) -> tuple[float, float]:
    """A point of 0..1 x 0..1 on the plot."""
    return LEFT + x * (WIDTH - LEFT - 22), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - 12)


def _polyline(points: Sequence[tuple[float, float]], kind: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*point) for point in points))
    return f'<polyline class="{kind}" points="{places}"/>'


def _dots(points: Sequence[tuple[float, float, str]]) -> str:
    return "".join(
        f'<circle cx="{_place(x, y)[0]:.1f}" cy="{_place(x, y)[1]:.1f}" r="4"><title>{title}</title></circle>'
        for x, y, title in points
    )


def _axes(ticks: Sequence[tuple[float, str]], label: str) -> str:
    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        (left, y), (right, _) = _place(0, share), _place(1, share)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    for x, text in ticks:
        parts.append(f'<text x="{_place(x, 0)[0]:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{text}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">{label}</text>')
    return "".join(parts)


def _svg(content: str, title: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{content}</svg>'


def _curve(result: Adaptation) -> str:
    points = result.curve.points
    step = 1 / max(len(points) - 1, 1)
    placed = [(i * step, share) for i, (_, share) in enumerate(points)]
    ticks = [(i * step, str(count)) for i, (count, _) in enumerate(points)]
    dots = [(x, share, f"{count} of each: {share:.1%}") for (x, share), (count, _) in zip(placed, points, strict=True)]
    return _svg(
        _axes(ticks, "examples of each label · 라벨마다 사진 수") + _polyline(placed, "best") + _dots(dots),
        "learning curve",
    )


def _curve_note(result: Adaptation) -> str:
    count, share = result.curve.points[-1]
    likely = 1 - (1 - share) * 2**-result.curve.exponent
    return f"With {count} of each label {share:.0%}; twice as many would bring about {likely:.0%}, if it goes on so."


def _reliability(result: Adaptation) -> str:
    groups = result.reliability
    line = [(sure, right) for sure, right, _ in groups]
    dots = [(sure, right, f"{count} pictures: said {sure:.0%}, right {right:.0%}") for sure, right, count in groups]
    ticks = [(share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]
    content = _axes(ticks, "said · 말한 확률") + _polyline([(0, 0), (1, 1)], "ideal") + _polyline(line, "best")
    return _svg(content + _dots(dots), "reliability: how sure against how often right")


def _footer() -> str:
    from anmok import __version__

    return (
        f"Made by anmok {__version__} on this machine; nothing was sent anywhere.\n"
        "Every number is of pictures that were held out: what judged them had not seen them. "
        "Intervals are 95%; ± is one standard error of the difference."
    )
