"""`anmok explain`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmok.cli import options
from anmok.cli.output import emit, say, show_progress
from anmok.errors import SettingsError

if TYPE_CHECKING:
    from PIL import Image

    from anmok.explain import HeatMap
    from anmok.report.explained import Map

__all__ = ["explain"]

FOOTER = (
    "A heat map shows what this model looks at, not what is true: a wrong answer has a map, too.\n"
    "Made by anmok. Everything ran on this machine; nothing was sent anywhere."
)
WHAT = {  # a method does, in a sentence for the page
    "occlusion": "Covered there, the score falls by up to {strength:.3f}. · 가리면 점수가 가장 크게 내려가는 곳",
    "patches": "Patches that are nearest to it. · 가장 가까운 조각",
    "gradcam": "Grad-CAM: features that raise the score. · 점수를 올리는 특징이 있는 곳",
    "legrad": "LeGrad: attention that would raise the score. · 점수를 올리는 주의(attention)",
    "relevance": "Attention weighted by its gradient. · 기울기로 잰 주의(attention)",
    "rollout": "Where it looks, whatever the text. · 글과 상관없이 바라보는 곳",
}


def explain(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture file.", show_default=False)],
    target: Annotated[
        str, typer.Argument(metavar="TEXT|PICTURE", help="A text, or another picture file.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to put the heat map (PNG).", show_default=False),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="TEXT|PICTURE", help="Why the target and not this?", show_default=False),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="auto, occlusion, patches, gradcam, legrad, relevance, rollout.")
    ] = "auto",
    model: options.Model = "anmok-mini",
    html: options.Html = None,
    json: options.Json = False,
) -> None:
    """Show where in a picture the score with a text comes from.

    \b
    anmok explain shop.jpg "a lemon" --output map.png
    anmok explain shop.jpg "레몬" --against "바나나" --html why.html
    anmok explain shop.jpg other.jpg --output map.png
    """
    from anmok.explain import chosen, explain_text
    from anmok.explain import explain as explain_picture
    from anmok.pictures import read

    if output is None and html is None and not json:
        raise SettingsError("nothing to write: give --output map.png, --html page.html or --json")
    if output is not None and output.suffix.lower() != ".png":
        raise SettingsError(f"--output {output}: name a .png file")
    asked, other = _target(target), None if against is None else _target(against)
    image = read(picture)
    with show_progress():
        encoder = options.open_encoder(model)
        used = chosen(encoder, method)
        found = explain_picture(encoder, image, asked, method=used, against=other)
        words = explain_text(encoder, image, asked) if isinstance(asked, str) else []
        back = None  # of two pictures, the map over the other one
        if html is not None and isinstance(asked, Path):
            back = explain_picture(encoder, asked, image, method=used)
    question = target if against is None else f"{target} − {against}"
    if output is not None:
        _save(found, image, output)
        say(f"map: {output}")
    if html is not None:
        maps = [_map(found, image, question)] + ([] if back is None else [_map(back, read(asked), picture)])
        say(f"report: {_page(picture, image, question, maps, words, found, encoder.name, html)}")
    if json:
        emit(_record(found, image, picture, target, against, words))
    else:
        _print(found, image, question, words)


def _target(given: str) -> str | Path:
    """A path where there is such a file, else a text."""
    try:
        return Path(given) if Path(given).is_file() else given
    except (OSError, ValueError):  # a long text is no file name
        return given


def _save(found: HeatMap, image: Image.Image, path: Path) -> None:
    from anmok.files import write_whole

    content = io.BytesIO()
    found.overlay(image).save(content, "PNG")
    write_whole(path, content.getvalue())


def _hottest(found: HeatMap, image: Image.Image) -> tuple[int, int]:
    """Column and row, in pixels of the picture, of the strongest place that speaks for the target."""
    height, width = found.values.shape
    row, column = divmod(int(found.values.argmax()), width)
    return int((column + 0.5) * image.width / width), int((row + 0.5) * image.height / height)


def _record(
    found: HeatMap, image: Image.Image, picture: str, target: str, against: str | None, words: list[tuple[str, float]]
) -> dict[str, Any]:
    """The line of `--json`."""
    x, y = _hottest(found, image)
    return {
        "picture": picture,
        "target": target,
        "against": against,
        "method": found.method,
        "score": found.score,
        "strength": found.strength,
        "hottest": {"x": x, "y": y},
        "words": [{"word": word, "adds": added} for word, added in words],
    }


def _print(found: HeatMap, image: Image.Image, question: str, words: list[tuple[str, float]]) -> None:
    x, y = _hottest(found, image)
    print(f"{question}: score {found.score:.3f}, hottest at x {x}, y {y} ({found.method})")
    for word, added in words:
        print(f"  {added:+.3f} {word}")


def _map(found: HeatMap, image: Image.Image, question: str) -> Map:
    from anmok.report import thumbnail
    from anmok.report.explained import Map

    note = WHAT[found.method].format(strength=found.strength)
    return Map(question, note, thumbnail(found.overlay(image), side=720), f"heat map: {question}")


def _page(
    picture: str,
    image: Image.Image,
    question: str,
    maps: list[Map],
    words: list[tuple[str, float]],
    found: HeatMap,
    model: str,
    path: Path,
) -> Path:
    from anmok.explain import scale
    from anmok.report import Page, thumbnail
    from anmok.report.explained import ExplainedPage, Map, Sentence, write_explained

    signed = any((found.values < 0).ravel())
    facts = {
        "score · 점수": f"{found.score:.3f}",
        "method · 방법": found.method,
        "model · 모델": model,
    }
    name = Path(picture).name
    page = Page(
        f"Why “{question}”?",
        "Where in the picture the score comes from. · 점수가 그림의 어디에서 나오는지 보여 줍니다.",
        facts,
        footer=FOOTER,
    )
    plain = Map(name, f"{image.width} x {image.height}", thumbnail(image, side=720))
    sentence = Sentence(words) if words else None
    return write_explained(ExplainedPage(page, [plain, *maps], sentence, scale(signed=signed), signed), path)
