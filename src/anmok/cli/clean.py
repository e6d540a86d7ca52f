"""`anmok clean`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anmok.cli import options
from anmok.cli.clean_page import printable, title_of, write_page
from anmok.cli.output import emit, finish, say, show_progress, table
from anmok.errors import SettingsError

if TYPE_CHECKING:
    from anmok.clean import CleanReport, CleanSettings

__all__ = ["clean"]

PROBLEMS_SHOWN = 5


def clean(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="SOURCE...", help="Shards, a CSV, a folder of classes, saved pages, web archives."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for cleaned shards, removed.jsonl and summary.json.", show_default=False
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with examples of what was dropped.", metavar="FILE.html")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write no data: only say what would be dropped.")] = False,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Held-out data (pictures, folders, or pairs): drop what shows one of its pictures."),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="Finds cropped copies and mismatches; `none` is faster and does neither."),
    ] = "anmok-mini",
    min_side: Annotated[int | None, typer.Option(help="Shorter side, pixels. (default: 64)")] = None,
    max_aspect: Annotated[float | None, typer.Option(help="Longer side over shorter side. (default: 3)")] = None,
    min_contrast: Annotated[
        float | None, typer.Option(help="Of 255 gray levels; below it is blank. (default: 12)")
    ] = None,
    min_sharpness: Annotated[
        float | None, typer.Option(help="In focus is 1.1 to 1.8; 0: keep blurred. (default: 0.7)")
    ] = None,
    min_letters: Annotated[
        int | None, typer.Option(help="Of a text; a Korean syllable counts as two. (default: 2)")
    ] = None,
    min_words: Annotated[
        int | None, typer.Option(help="Of a text; two Korean syllables are a word. (default: 1)")
    ] = None,
    max_repeats: Annotated[
        str | None,
        typer.Option(help="Share of the pictures that one text may stand beside, such as 2%. (default: 100%)"),
    ] = None,
    min_match: Annotated[
        float | None,
        typer.Option(
            help="Drop texts that do not match their picture: 0.5 is what one unrelated pair in a hundred reaches, "
            "whatever the model. anmok-mini knows little, and this then drops what it does not know. (default: off)"
        ),
    ] = None,
    drop_lowest: Annotated[
        str | None,
        typer.Option(
            help="Or drop the share of pairs that match worst, such as 5%. It is rank, not truth. (default: off)"
        ),
    ] = None,
    near_similarity: Annotated[
        float | None, typer.Option(help="Correlation from which pictures are near duplicates. (default: 0.94)")
    ] = None,
    near_distance: Annotated[
        int | None, typer.Option(help="Bits of 64 in which their hashes may differ. (default: 8)", min=0)
    ] = None,
    mirrored: Annotated[bool, typer.Option(help="Mirrored copies are near duplicates.")] = True,
    unite_texts: Annotated[
        bool, typer.Option("--unite-texts", help="The kept one of exact duplicates takes the texts of the others.")
    ] = False,
    keep: Annotated[
        list[str] | None, typer.Option(help='Drop nothing for this reason: --keep blurred --keep "near duplicate".')
    ] = None,
    dataset_type: Annotated[
        str, typer.Option(help="auto, shards, table, folder, huggingface, pages or warc.")
    ] = "auto",
    csv_img_key: Annotated[str, typer.Option(help="Column of the picture's path.")] = "filepath",
    csv_caption_key: Annotated[str, typer.Option(help="Column of the text.")] = "title",
    csv_separator: Annotated[str, typer.Option(help="Between columns.")] = "\t",
    json: options.Json = False,
) -> None:
    """Drop pairs that are of no use for training.

    Broken, blank, blurred, there twice, or with texts that say nothing. Every dropped pair is listed with its reason.
    Sources are only read.

    \b
    anmok clean shards/ --dry-run --report report.html          look first
    anmok clean shards/ --output cleaned --against eval/        then write; nothing of eval/ is in it
    anmok clean pairs.csv -o cleaned --max-repeats 2% --drop-lowest 5%
    """
    if output is None and not dry_run:
        raise SettingsError("give --output FOLDER, or --dry-run to only look")
    target = None if dry_run or output is None else output
    settings = _settings(
        min_side=min_side, max_aspect=max_aspect, min_contrast=min_contrast, min_sharpness=min_sharpness,
        min_letters=min_letters, min_words=min_words, max_repeats=_share("--max-repeats", max_repeats),
        min_match=min_match, drop_lowest=_share("--drop-lowest", drop_lowest), near_similarity=near_similarity,
        near_distance=near_distance, mirrored=mirrored, unite_texts=unite_texts, keep=frozenset(keep or ()),
    )  # fmt: skip
    _check_apart(target, [*sources, *(against or [])])
    with show_progress():
        from anmok.clean import clean as run
        from anmok.clean import open_held_out
        from anmok.pairs import open_pairs

        encoder = None if model == "none" else options.open_encoder(model)
        source = open_pairs(
            sources, kind=dataset_type, image_key=csv_img_key, text_key=csv_caption_key, separator=csv_separator
        )
        held_out = open_held_out(against) if against else None
        result = run(source, target, settings=settings, encoder=encoder, against=held_out)
        page = None if report is None else write_page(result, source, held_out, report)
    if json:
        repeated = [{"text": printable(text), "pictures": count} for text, count in result.repeated]
        emit({**result.to_dict(), "repeated": repeated, "output": None if target is None else str(target)})
    else:
        _print(result, target)
    if page is not None:
        say(f"report: {page}")
    finish(len(result.problems) + len(result.not_compared) + (result.kept == 0))


def _settings(**given: Any) -> CleanSettings:
    """Settings from the options that were given."""
    from anmok.clean import CleanSettings

    return CleanSettings(**{name: value for name, value in given.items() if value is not None})


def _share(option: str, text: str | None) -> float | None:
    """`5%` or `0.05`."""
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise SettingsError(f"{option} {text}: expected a share such as 5% or 0.05") from error


def _check_apart(output: Path | None, inputs: list[Path]) -> None:
    """Raise SettingsError where the output would replace what is read."""
    if output is None:
        return
    for path in inputs:
        if path.resolve().is_relative_to(output.resolve()):
            raise SettingsError(f"--output {output}: {path} lies in it and would be replaced; give another folder")


def _print(result: CleanReport, output: Path | None) -> None:
    rows = [[title_of(reason), f"{count:,}", f"{count / result.pairs:.1%}"] for reason, count in result.dropped.items()]
    if rows:
        table("", ["dropped", "pairs", "of all"], rows)
    texts = sum(result.texts_dropped.values())
    say(f"{result.kept:,} of {result.pairs:,} pairs kept" + (f", {texts:,} of their texts dropped" if texts else ""))
    for problem in result.problems[:PROBLEMS_SHOWN]:
        say(f"{problem.where}: {problem.reason}")
    if len(result.problems) > PROBLEMS_SHOWN:
        say(f"and {len(result.problems) - PROBLEMS_SHOWN} more problems, all in summary.json")
    for name, reason in result.not_compared[:PROBLEMS_SHOWN]:
        say(f"not compared with: {name}: {reason}")
    if output is not None:
        say(f"{len(result.shards)} shards, removed.jsonl and summary.json in {output}")
