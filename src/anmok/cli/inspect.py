"""`anmok inspect`: learn good parts, find faulty ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anmok.cli import options
from anmok.cli.output import emit, finish, say, show_progress
from anmok.errors import InspectionError, SettingsError

if TYPE_CHECKING:
    from anmok.inspect import Drift, Inspection, Inspector, WordInspector

__all__ = ["app"]

SHOWN_SOUND = 60  # pictures without a fault on the page

app = typer.Typer(
    help="Find faulty parts from pictures of good ones, or by name.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def fit(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="GOOD...", help="Pictures of good parts, or folders of them.", show_default=False),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the inspector.", metavar="INSPECTOR", show_default=False)
    ],
    model: options.Model = "anmok-mini",
    memory_mib: Annotated[float, typer.Option("--memory-mib", help="The memory never takes more.")] = 32,
    false_alarms: Annotated[
        float, typer.Option("--false-alarms", help="How often a good part may be called faulty, 0 to 1.")
    ] = 0.01,
    max_tiles: Annotated[
        int, typer.Option("--max-tiles", min=1, help="Looks at a picture at most; more see smaller faults, slower.")
    ] = 16,
    json: options.Json = False,
) -> None:
    """Learn what good parts look like. No picture of a fault is needed.

    \b
    anmok inspect fit good/ --output nuts.inspector
    anmok inspect run line/ --inspector nuts.inspector --html found.html
    """
    from anmok.feature_cache import FeatureCache
    from anmok.inspect import Inspector

    files = options.expand(pictures)
    with show_progress():
        encoder = options.open_encoder(model, precision="fp32")
        inspector = Inspector.fit(
            encoder,
            files,
            cache=FeatureCache(encoder),
            memory_mib=memory_mib,
            false_alarms=false_alarms,
            max_tiles=max_tiles,
            on_error="skip",
        )
    inspector.save(output)
    for failure in inspector.failed:
        say(f"{failure.picture}: {failure.error}")
    if json:
        emit(_fit_record(inspector, output))
    else:
        print(_told(inspector))
    say(f"inspector: {output}")
    finish(len(inspector.failed))


@app.command()
def run(
    pictures: options.Pictures,
    inspector: Annotated[
        Path | None, typer.Option("--inspector", "-i", help="Made by `anmok inspect fit`.", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--object", help="Or what the pictures show, such as 'metal nut' or 너트.", show_default=False),
    ] = None,
    model: options.Model = "anmok-mini",
    json: options.Json = False,
    html: options.Html = None,
    maps: Annotated[
        Path | None,
        typer.Option("--maps", help="Also write each picture with its heat map and boxes.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Find what is unlike the good parts, and where.

    \b
    anmok inspect run line/ --inspector nuts.inspector --maps maps/
    anmok inspect run line/ --object "metal nut"          by words alone: nothing was learned, much rougher
    """
    from anmok.inspect import Inspector, WordInspector

    if (inspector is None) == (name is None):
        raise SettingsError("give either --inspector (made by `anmok inspect fit`) or --object 'metal nut'")
    files = options.expand(pictures)
    with show_progress():
        encoder = options.open_encoder(model, precision="fp32")
        judge = WordInspector(encoder, name) if name is not None else Inspector.load(inspector or Path(), encoder)
        found = judge.inspect(files, on_error="skip")
    drift = judge.drift(found) if isinstance(judge, Inspector) else None
    for picture, inspection in zip(files, found, strict=True):
        if json:
            emit(_record(picture, inspection))
        else:
            _print(picture, inspection)
    _summary(found, drift, judge)
    if maps is not None:
        say(f"maps: {_write_maps(files, found, maps)}")
    if html is not None:
        say(f"report: {_page(files, found, judge, drift, html)}")
    finish(sum(one.error is not None for one in found))


def _fit_record(inspector: Inspector, output: Path) -> dict[str, object]:
    return {
        "inspector": str(output),
        "method": inspector.method,
        "pictures": inspector.pictures,
        "places": inspector.places,
        "kept": len(inspector.memory),
        "memory_mib": round(inspector.memory.mib, 3),
        "tiles": len(inspector.tiling),
        "canvas": list(inspector.tiling.canvas),
        "turned": inspector.turned,
        "threshold": inspector.threshold,
        "false_alarms": inspector.promised,
        "failed": [{"picture": failure.picture, "error": failure.error} for failure in inspector.failed],
    }


def _told(inspector: Inspector) -> str:
    """What was learned, kept and promised, in a few lines."""
    height, width = inspector.tiling.canvas
    count = inspector.pictures
    lines = [
        f"{inspector.method}, from {count} good picture{'s' if count > 1 else ''}"
        + (", turned by eighths as well" if inspector.turned else ""),
        f"kept {len(inspector.memory):,} of {inspector.places:,} places ({inspector.memory.mib:.1f} MiB); "
        f"pictures are looked at as {width} x {height} pixels in {len(inspector.tiling)} tiles",
        _promise(inspector),
    ]
    return "\n".join(lines)


def _promise(inspector: Inspector) -> str:
    count = inspector.pictures
    if inspector.promised is None:
        return "one good picture promises nothing: the threshold is a guess, made from disturbed copies of it"
    if inspector.promised > inspector.false_alarms:
        needed = round(1 / inspector.false_alarms) - 1
        return (
            f"false alarms: {inspector.promised:.1%} of good parts; {count} pictures cannot promise less "
            f"({inspector.false_alarms:.1%} takes {needed})"
        )
    return f"false alarms: {inspector.promised:.1%} of good parts"


def _record(picture: str, inspection: Inspection) -> dict[str, object]:
    """One line of `--json`."""
    if inspection.error is not None:
        return {"picture": picture, "error": inspection.error}
    boxes = [
        {"box": [box.left, box.top, box.right, box.bottom], "heat": round(box.heat, 4)} for box in inspection.boxes
    ]
    return {
        "picture": picture,
        "fault": inspection.fault,
        "score": inspection.score,
        "p_value": inspection.p_value,
        "boxes": boxes,
    }


def _print(picture: str, inspection: Inspection) -> None:
    if inspection.error is not None:
        say(f"{picture}: {inspection.error}")
        return
    print(f"{'FAULT' if inspection.fault else 'ok   '}  {_note(inspection)}  {picture}")


def _note(inspection: Inspection) -> str:
    parts = [f"score {inspection.score:.3f}"]
    if inspection.p_value is not None:
        parts.append(f"p {inspection.p_value:.3f}")
    if inspection.boxes:
        parts.append(f"{len(inspection.boxes)} place{'s' if len(inspection.boxes) > 1 else ''}")
    return " · ".join(parts)


def _summary(found: list[Inspection], drift: Drift | None, judge: Inspector | WordInspector) -> None:
    from anmok.inspect import Inspector

    readable = [one for one in found if one.error is None]
    say(f"{sum(one.fault for one in readable)} of {len(readable)} look faulty")
    if isinstance(judge, Inspector):
        say(f"{judge.method}; {_promise(judge)}")
    else:
        say(f"words alone ({judge.name!r}): a rough guess; a few pictures of good parts tell far more")
    if drift is not None and drift.moved:
        say(_moved(drift))


def _moved(drift: Drift) -> str:
    return f"the good state seems to have moved: {drift.reason}; look, and fit again with new pictures of good parts"


def _write_maps(files: list[str], found: list[Inspection], folder: Path) -> Path:
    """Each picture as PNG under its own name; a number is added where two have the same."""
    from anmok.inspect import overlay

    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    for picture, inspection in zip(files, found, strict=True):
        if inspection.error is not None:
            continue
        stem, number = Path(picture).stem, 1
        name = stem
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        try:
            overlay(picture, inspection).save(folder / f"{name}.png")
        except OSError as error:
            raise InspectionError(f"{folder}: maps cannot be written: {error.strerror or error}") from error
    return folder


def _page(
    files: list[str], found: list[Inspection], judge: Inspector | WordInspector, drift: Drift | None, path: Path
) -> Path:
    import numpy as np

    from anmok.inspect import Inspector
    from anmok.report.inspected import InspectedPage, part_of, scale_of, write_inspected

    order = sorted(range(len(found)), key=lambda k: -found[k].score if found[k].error is None else 0.0)
    faults = [k for k in order if found[k].fault]
    sound = [k for k in order if not found[k].fault and found[k].error is None][:SHOWN_SOUND]
    broken = [k for k in order if found[k].error is not None]
    parts = [[part_of(files[k], found[k], _note(found[k])) for k in group] for group in (faults, sound, broken)]
    fitted = isinstance(judge, Inspector)
    good = judge.good if isinstance(judge, Inspector) else np.empty(0, np.float32)
    facts = {
        "pictures": str(len(found)),
        "faults": str(len(faults)),
        "method": judge.method if isinstance(judge, Inspector) else f"words: {judge.name}",
        "model": judge.encoder.name,
    }
    page = InspectedPage(
        "What inspection found · 검사 결과",
        facts=facts,
        faults=parts[0],
        sound=parts[1],
        broken=parts[2],
        scale=scale_of(found, good, judge.threshold),
        warning=_moved(drift) if drift is not None and drift.moved else "",
        promise=_promise(judge).capitalize() + "." if isinstance(judge, Inspector) else "Words alone promise nothing.",
        footer="" if fitted else "Nothing was learned from good parts: take this as a first look.",
    )
    return write_inspected(page, path)
