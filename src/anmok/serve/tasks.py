"""What the long jobs do, and what they answer with, as JSON: index a folder, move a collection to another encoder.

Both may be begun again at any time and do only what is left. The collection should be one that was opened for the
job: a move closes its store and opens the new one, so whoever else has the old one open must open it again.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from anmok.errors import StoreError
from anmok.pictures import picture_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from anmok.collections import Collection, Comparison, Failure
    from anmok.encoder import Encoder

__all__ = ["FAILED_LISTED", "index_folder", "re_encode"]

FAILED_LISTED = 1000  # pictures that are named in a result; the others are counted

log = logging.getLogger("anmok.serve")


def index_folder(collection: Collection, folder: Path, *, verify: bool = False, retry: bool = False) -> dict[str, Any]:
    """Bring a collection up to date with a folder; see `Collection.add_folder`.

    Returns:
        The IndexReport: `added`, `unchanged`, `moved`, `changed`, `removed`, `failed_count`, and `failed`, a list of
        {picture, error} of the first FAILED_LISTED; pictures by their path in the folder.
    """
    report = collection.add_folder(folder, verify=verify, retry=retry)
    return {**asdict(report), **_failed(report.failed, [str(folder.resolve())])}


def re_encode(
    collection: Collection, encoder: Encoder, *, switch: bool = True, least_recall: float = 0.9, discard: bool = False
) -> dict[str, Any]:
    """Move a collection to another encoder; see `Collection.re_encode`.

    Args:
        collection: stays as it is until everything is encoded and compared.
        encoder: the new one. Where the collection has it already, nothing is done.
        switch: False encodes and compares only. What was encoded is kept, so that a switch later is quick.
        least_recall: 0..1, of the new index against an exact search; below it there is no switch.
        discard: throw away an unfinished move to yet another encoder.

    Returns:
        `pictures`: in the collection. `encoded`: in this run. `switched`: whether the collection has that encoder now.
        `comparison`: see `anmok.collections.Comparison`; None where there was nothing to do. `failed_count`, `failed`:
        as of `index_folder`; pictures by their path in the folder they were indexed with.

    Raises:
        StoreError: the recall is below `least_recall`, and nothing was switched; says how the two compare.
    """
    if collection.contract["fingerprint"] == encoder.fingerprint:
        return {"pictures": len(collection), "encoded": 0, "switched": True, "comparison": None, **_failed((), ())}
    compared: list[Comparison] = []

    def check(comparison: Comparison) -> bool:
        compared.append(comparison)
        log.info("%s under %s: %s", collection.path, encoder.name, comparison)
        if comparison.recall < least_recall:
            raise StoreError(
                f"the new index finds {comparison.recall:.3f} of what an exact search finds, below the least_recall of"
                f" {least_recall:g} (the old one: {comparison.recall_before:.3f}; neighbours that both encoders find:"
                f" {comparison.overlap:.3f}). The collection keeps the encoder that it has. What was encoded is kept"
                " too: ask again with a lower least_recall to switch"
            )
        return switch

    report = collection.re_encode(encoder, check=check, discard=discard)
    return {
        "pictures": len(collection),
        "encoded": report.changed,
        "switched": switch,
        "comparison": asdict(compared[0]),
        **_failed(report.failed, collection.folders),
    }


def _failed(failures: tuple[Failure, ...], folders: Iterable[str]) -> dict[str, Any]:
    listed = [
        {"picture": _path_in(failure.picture, folders), "error": failure.error} for failure in failures[:FAILED_LISTED]
    ]
    return {"failed": listed, "failed_count": len(failures)}


def _path_in(picture: str, folders: Iterable[str]) -> str:
    """A picture's path in the outermost of the folders that has it: clients are told no paths of this machine."""
    path = PurePath(picture)
    for folder in sorted(folders, key=len):
        if path.is_relative_to(folder):
            return picture_name(path.relative_to(folder).as_posix())
    return picture_name(path.name)
