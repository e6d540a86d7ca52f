"""The page of `anmok clean`: for every reason some of what was dropped, duplicates beside what stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok import progress
from anmok.errors import AnmokError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL import Image

    from anmok.clean import CleanReport, HeldOut, Removed
    from anmok.pairs import Pair, PairSource
    from anmok.report import Card, Row

__all__ = ["printable", "title_of", "write_page"]

HEIGHT, GAP = 240, 10  # pixels, of two pictures that stand side by side
LONGEST = 90  # letters of a text on a card
LISTED = 20  # problems
FOOTER = "Made by anmok. Everything ran on this machine; nothing was sent anywhere."


def title_of(reason: str) -> str:
    """A reason in English and Korean; the source's own kinds as they are."""
    from anmok.clean import REASONS

    return f"{REASONS[reason].english} · {REASONS[reason].korean}" if reason in REASONS else reason.capitalize()


def printable(text: str) -> str:
    """The text without half letters, which cannot be written."""
    return text.encode("utf-8", "replace").decode()


def write_page(result: CleanReport, source: PairSource, held_out: HeldOut | None, path: Path) -> Path:
    """Write the page; the pictures on it are read once more."""
    from anmok.report import Page, Row, write

    rows = []
    with progress.task("drawing examples", sum(map(len, result.examples.values()))) as advance:
        for reason, examples in result.examples.items():
            cards = []
            for example in examples:
                cards.append(_card(example, source, held_out))
                advance(1)
            unseen = all(card.error for card in cards)
            rows.append(Row(title_of(reason), cards, _subtitle(reason, result), compact=unseen))
    facts = {
        "pairs · 쌍": f"{result.pairs:,}",
        "kept · 남김": f"{result.kept:,} ({result.kept / result.pairs:.1%})",
        **{title_of(reason): f"{count:,}" for reason, count in result.dropped.items()},
    }
    subtitle = "What was dropped, and why. · 무엇을 왜 뺐는지 보여 줍니다."
    page = Page("Cleaned pairs · 정리한 데이터", subtitle, facts, [*rows, *_lists(result)], footer=FOOTER)
    return write(page, path)


def _subtitle(reason: str, result: CleanReport) -> str:
    from anmok.clean import REASONS

    pairs, texts = result.dropped.get(reason, 0), result.texts_dropped.get(reason, 0)
    counted = [f"{pairs:,} pairs · 쌍"] * bool(pairs) + [f"{texts:,} single texts · 글"] * bool(texts)
    return f"{REASONS[reason].explanation if reason in REASONS else ''} {', '.join(counted)}".strip()


def _card(example: Removed, source: PairSource, held_out: HeldOut | None) -> Card:
    """The dropped picture, its twin to the right of it where it has one, and why."""
    from anmok.report import Card, thumbnail

    twin, badge = example.twin, "" if example.whole else "text only · 글만"
    try:
        pair = source.read(example.number)
        text = pair.texts[0] if example.reason == "mismatch" and example.text is None else example.text
        note = example.detail if text is None else f"“{_short(text)}” {example.detail}"
        if twin is None:
            picture = thumbnail(pair.picture)
        else:
            place = held_out if twin.held_out and held_out else source
            picture, sizes = _side_by_side(pair, place.read(twin.number))
            note += f"; {sizes}; right ({'held out · 평가용' if twin.held_out else 'kept · 남김'}): {twin.name}"
    except AnmokError as error:  # or the file is gone by now
        return Card(example.name, error=getattr(error, "reason", str(error)))
    if not picture:
        return Card(example.name, error=example.detail)
    return Card(example.name, picture, note=note, badge=badge)


def _side_by_side(left: Pair, right: Pair) -> tuple[str, str]:
    """Two pictures in one, at one height, and their sizes."""
    from PIL import Image

    from anmok.pictures import read
    from anmok.report import thumbnail

    pictures = [read(pair.picture) for pair in (left, right)]
    scaled = [_at_height(picture) for picture in pictures]
    both = Image.new("RGB", (sum(picture.width for picture in scaled) + GAP, HEIGHT), "white")
    both.paste(scaled[0], (0, 0))
    both.paste(scaled[1], (scaled[0].width + GAP, 0))
    sizes = " → ".join(f"{picture.width} x {picture.height}" for picture in pictures)
    return thumbnail(both, side=480), sizes


def _at_height(picture: Image.Image) -> Image.Image:
    width = min(max(1, round(picture.width * HEIGHT / picture.height)), 4 * HEIGHT)
    return picture.resize((width, HEIGHT))


def _short(text: str) -> str:
    return printable(text if len(text) <= LONGEST else text[:LONGEST] + "…")


def _lists(result: CleanReport) -> list[Row]:
    """What has no picture: repeated texts, files that could not be used, held-out pictures that could not be read."""
    from anmok.report import Row

    repeated = [f"“{_short(text)}” {count:,}" for text, count in result.repeated]
    problems = [f"{problem.where}: {problem.reason}" for problem in result.problems]
    unread = [f"{name}: {reason}" for name, reason in result.not_compared]
    titles = {
        "Most repeated texts · 가장 많이 되풀이된 글": (repeated, "And beside how many pictures; see --max-repeats."),
        "What could not be opened · 열 수 없던 것": (problems, "Of the files of the source."),
        "Unreadable held-out pictures · 읽을 수 없던 평가용 사진": (unread, "Nothing was compared with them."),
    }
    return [
        Row(title, subtitle=subtitle, message=" · ".join(lines[:LISTED]) + (" · …" if len(lines) > LISTED else ""))
        for title, (lines, subtitle) in titles.items()
        if lines
    ]
