"""Cleaning from end to end: look, judge, compare, write."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anmok.clean.duplicates import KINDS, find_duplicates
from anmok.clean.held_out import HeldOut
from anmok.clean.matching import lowest
from anmok.clean.measure import measure
from anmok.clean.reasons import in_order
from anmok.clean.repeats import drop_repeated, repeats
from anmok.clean.report import CleanReport, Twin, examples_of, removed
from anmok.clean.settings import CleanSettings
from anmok.clean.write import SUMMARY, check_output, scratch_folder, take_name, write_json_lines, write_kept
from anmok.errors import SettingsError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from anmok.clean.measure import Measured
    from anmok.clean.repeats import Repeats
    from anmok.encoder import Encoder
    from anmok.pairs import PairSource

__all__ = ["clean"]

REMOVED = "removed.jsonl"
NEW = "new"  # what the output folder is called until it is whole


def clean(
    source: PairSource,
    output: str | os.PathLike[str] | None,
    *,
    settings: CleanSettings | None = None,
    encoder: Encoder | None = None,
    against: HeldOut | None = None,
) -> CleanReport:
    """Drop pairs that are of no use for training, each for a reason that is written down.

    Pictures are read once. Of pictures that show the same, the largest stays, and among equals the one with the
    longest texts. A pair loses its bad texts, and is dropped with the last of them. The same source and settings give
    the same bytes again.

    Args:
        source: from `anmok.pairs.open_pairs`.
        output: a new folder, or an earlier result that is replaced. It gets `clean-00000.tar` and so on (WebDataset),
            `removed.jsonl` (what was dropped, why, and what stays in its place) and `summary.json`, and appears as a
            whole. With None nothing is written.
        settings: thresholds; the defaults lose little that is of use.
        encoder: finds cropped and mirrored copies by nearest neighbours, and texts that do not match. Without it near
            duplicates are found by their hashes alone.
        against: held-out pictures, from `open_held_out`; what shows one of them is dropped.

    Raises:
        SettingsError: the output folder holds something else or cannot be written, or a match is asked for without
            an encoder.
    """
    settings = settings or CleanSettings()
    against = HeldOut() if against is None else against
    if settings.judges_match and encoder is None:
        raise SettingsError("min_match and drop_lowest compare pictures with texts, which needs an encoder")
    target = None if output is None else Path(output)
    if target is not None:
        check_output(target)
    with scratch_folder(target) as scratch:
        measured = measure(source, against, settings=settings, encoder=encoder, folder=scratch)
        drop_repeated(measured, source, settings)
        _drop_lowest(measured, settings)
        repeated = repeats(measured, source)
        twins = _drop_duplicates(measured, settings)
        shards: list[Path] = []
        if target is not None:
            others = _exact(measured, twins) if settings.unite_texts else {}
            shards = write_kept(source, measured, scratch / NEW, others=others, shard_bytes=settings.shard_bytes)
        report = _report(source, against, measured, twins=twins, repeated=repeated, settings=settings)
        if target is None:
            return report
        report = replace(report, shards=tuple(target / shard.name for shard in shards))
        write_json_lines((one.to_dict() for one in removed(measured, twins)), scratch / NEW / REMOVED)
        write_json_lines([_summary(report, source, settings, encoder)], scratch / NEW / SUMMARY, indent=2)
        take_name(scratch / NEW, target)
    return report


def _drop_lowest(measured: Measured, settings: CleanSettings) -> None:
    """Drop the share of pairs whose best text fits worst."""
    if "mismatch" in settings.keep:
        return
    rows = measured.left()
    for row in rows[lowest(measured.cosine[rows], settings.drop_lowest)].tolist():
        detail = f"cosine {measured.cosine[row]:.3f}, among the lowest {100 * settings.drop_lowest:g}%"
        measured.drop(row, "mismatch", detail)


def _drop_duplicates(measured: Measured, settings: CleanSettings) -> dict[int, Twin]:
    """Drop pairs whose picture shows the same as a better or a held-out one. Returns row → what stays."""
    rows = measured.left()
    best_first = rows[np.lexsort((rows, -measured.letters[rows], -measured.area[rows]))]
    compares = "held out" not in settings.keep
    held = [row for row in range(measured.held_out) if compares and row not in measured.dropped]
    ordered = np.concatenate([np.array(held, np.int64), best_first])
    found = find_duplicates(measured.looks, ordered, held_out=len(held), settings=settings)
    twins: dict[int, Twin] = {}
    for place in np.flatnonzero(found.twin >= 0):
        row, better = int(ordered[place]), int(ordered[found.twin[place]])
        leaked = better < measured.held_out
        twins[row] = Twin(measured.names[better], better - (0 if leaked else measured.held_out), leaked)
        kind = _kind(measured, row, better)
        detail = f"similarity {found.alike[place]:.3f}" if kind == KINDS[-1] else "equal"
        measured.drop(row, "held out" if leaked else kind, f"{kind}, {detail}" if leaked else detail)
    return twins


def _kind(measured: Measured, row: int, better: int) -> str:
    equal = (digests[row] == digests[better] for digests in (measured.looks.files, measured.looks.pixels))
    return next((kind for kind, same in zip(KINDS, equal, strict=False) if same), KINDS[-1])


def _exact(measured: Measured, twins: Mapping[int, Twin]) -> dict[int, list[int]]:
    """Row that stays → rows with the same pixels that were dropped for it."""
    others: dict[int, list[int]] = defaultdict(list)
    for row, twin in twins.items():
        better = twin.number + measured.held_out
        if not twin.held_out and _kind(measured, row, better) != KINDS[-1]:
            others[better].append(row)
    return others


def _report(
    source: PairSource,
    against: HeldOut,
    measured: Measured,
    *,
    twins: Mapping[int, Twin],
    repeated: Repeats,
    settings: CleanSettings,
) -> CleanReport:
    held = measured.held_out
    reasons = Counter(reason for row, (reason, _) in measured.dropped.items() if row >= held)
    texts = Counter(one.reason for one in removed(measured, twins) if not one.whole)
    return CleanReport(
        pairs=len(source),
        kept=len(source) - reasons.total(),
        dropped={reason: reasons[reason] for reason in in_order(reasons)},
        texts_dropped={reason: texts[reason] for reason in in_order(texts)},
        held_out=held,
        not_compared=tuple(
            (measured.names[row], detail) for row, (_, detail) in sorted(measured.dropped.items()) if row < held
        ),
        problems=(*source.problems, *against.problems),
        repeated=repeated,
        examples=examples_of(measured, twins, settings.examples),
    )


def _summary(
    report: CleanReport, source: PairSource, settings: CleanSettings, encoder: Encoder | None
) -> dict[str, Any]:
    from anmok import __version__

    model = {"name": encoder.name, "fingerprint": encoder.fingerprint} if encoder else None
    made = {"anmok": __version__, "source": source.fingerprint, "model": model, "settings": settings.to_dict()}
    return {**report.to_dict(), **made}
