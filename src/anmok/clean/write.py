"""The cleaned data as a folder: shards, the list of what was dropped, a summary. It appears as a whole or not at all.

Everything is written into a hidden folder beside it first, which then takes its name.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok import progress
from anmok.errors import SettingsError
from anmok.pairs import Pair, PairError, PairSource, write_shards

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from anmok.clean.measure import Measured

__all__ = ["SUMMARY", "check_output", "scratch_folder", "take_name", "write_json_lines", "write_kept"]

SUMMARY = "summary.json"
PREFIX = "clean"
STALE_S = 24 * 3600  # a hidden folder this old was left by a process that died


def check_output(output: Path) -> None:
    """Raise SettingsError where the folder holds anything but an earlier result."""
    if output.exists() and not (output / SUMMARY).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise SettingsError(
            f"{output}: is there already and was not made by cleaning: give a new folder, so that nothing is lost"
        )


@contextmanager
def scratch_folder(output: Path | None) -> Iterator[Path]:
    """A folder for the time of the work; beside `output`, so that it can take its name.

    Raises:
        SettingsError: it, or what is put into it, cannot be written.
    """
    parent, hidden = None, "anmok-clean-"
    try:
        if output is not None:
            parent, hidden = output.absolute().parent, f".{output.name}.cleaning-"
            parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(parent, hidden)
        with tempfile.TemporaryDirectory(prefix=hidden, dir=parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        where = output or tempfile.gettempdir()
        raise SettingsError(f"{where}: cannot be written: {error.strerror or error}") from error


def _remove_stale(parent: Path, hidden: str) -> None:
    for old in parent.glob(f"{hidden}*"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_S:
                shutil.rmtree(old, ignore_errors=True)


def write_kept(
    source: PairSource,
    measured: Measured,
    folder: Path,
    *,
    others: Mapping[int, Sequence[int]],
    shard_bytes: int,
) -> list[Path]:
    """Write the pairs that stay, with the texts that stay, in their order.

    Args:
        source: they are read once more.
        measured: which stay. A pair that cannot be read any more is dropped.
        folder: a new one.
        others: row → rows whose texts it takes as well.
        shard_bytes: most bytes of a shard.
    """
    rows = measured.left().tolist()
    current = -1

    def pairs() -> Iterator[Pair | PairError]:
        nonlocal current
        with progress.task("writing pairs", len(rows)) as advance:
            for row in rows:
                current = row
                yield _kept(source, measured, row, others.get(row, ()))
                advance(1)

    def note(error: PairError) -> None:
        measured.drop(current, error.kind, error.reason)

    folder.mkdir()
    if not rows:
        return []
    return write_shards(pairs(), folder, shard_bytes=shard_bytes, prefix=PREFIX, on_error=note)


def write_json_lines(records: Iterable[Mapping[str, Any]], path: Path, *, indent: int | None = None) -> None:
    """One JSON object a line, UTF-8, on the disk when it returns; half letters are escaped."""
    with path.open("wb") as file:
        for record in records:
            text = json.dumps(record, ensure_ascii=False, indent=indent)
            try:
                line = text.encode()
            except UnicodeEncodeError:
                line = json.dumps(record, indent=indent).encode()
            file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())


def take_name(folder: Path, output: Path) -> None:
    """Give a finished folder its name, in place of an earlier result."""
    check_output(output)
    earlier = folder.with_name("replaced")
    if output.exists():
        output.rename(earlier)
    try:
        folder.rename(output)
    except OSError:
        if earlier.exists():
            earlier.rename(output)
        raise


def _kept(source: PairSource, measured: Measured, row: int, others: Sequence[int]) -> Pair | PairError:
    """The pair of a row without its bad texts, or why it cannot be read any more."""
    try:
        pair = source.read(row - measured.held_out)
    except PairError as error:
        return error
    texts: tuple[str, ...] = ()
    captions: dict[str, tuple[str, ...]] = {}
    for other in (row, *others):
        with suppress(PairError):  # a copy that cannot be read any more gives no texts
            twin = source.read(other - measured.held_out)
            texts += _good(measured, other, twin.texts)
            for language, own in twin.captions.items():
                captions[language] = captions.get(language, ()) + _good(measured, other, own)
    captions = {language: _distinct(own) for language, own in captions.items() if own}
    facts = {"origin": pair.name, **pair.facts}  # cleaned once more, it still says where it came from at first
    return replace(pair, texts=_distinct(texts), captions=captions, facts=facts)


def _good(measured: Measured, row: int, texts: Iterable[str]) -> tuple[str, ...]:
    bad = measured.texts.get(row, {})
    return tuple(text for text in texts if text not in bad)


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
