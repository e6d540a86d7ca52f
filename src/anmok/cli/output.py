"""How every command speaks: data on stdout, logs and progress on stderr, errors as one line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anmok import progress
from anmok.settings import settings

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Failed", "emit", "finish", "say", "show_progress", "table"]


class Failed(Exception):
    """Ends a command with exit status 1: some items failed, the others are done."""


def emit(record: dict[str, Any]) -> None:
    """Print one JSON object as a line on stdout, readable as UTF-8 whatever the terminal's encoding."""
    line = json.dumps(record, ensure_ascii=False, default=str) + "\n"
    sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def say(text: str) -> None:
    """Print a line for the person at the terminal, on stderr."""
    print(text, file=sys.stderr, flush=True)


def finish(failed: int) -> None:
    """End the command with status 1 where items failed."""
    if failed:
        raise Failed


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table for people on stdout."""
    from rich.table import Table

    drawn = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for place, column in enumerate(columns):
        drawn.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        drawn.add_row(*row)
    _console(stderr=False).print(drawn)


@contextmanager
def show_progress() -> Iterator[None]:
    """Draw the rooms' progress reports on stderr while the block runs, where stderr is a terminal."""
    if not (settings().progress and sys.stderr.isatty()):
        yield
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    times = TimeElapsedColumn(), TimeRemainingColumn()
    with Bars(*columns, *times, console=_console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def draw(report: progress.Progress) -> None:
            if report.name not in tasks:
                tasks[report.name] = bars.add_task(report.name, total=report.total)
            bars.update(tasks[report.name], completed=report.done, total=report.total)
            if report.finished:
                bars.remove_task(tasks.pop(report.name))

        with progress.listen(draw):
            yield


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)
