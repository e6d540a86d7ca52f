"""Reports of progress → how far a job is, how quick it goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from anmok.serve.job import JobProgress

if TYPE_CHECKING:
    from collections.abc import Callable

    from anmok.progress import Progress

__all__ = ["Meter"]

SPACING = 1.0  # seconds, at least, between two points that a rate is measured from
POINTS = 30  # so the rate is that of the last half minute, or of the last 30 steps where they are slower


class Meter:
    """Follows the outermost piece of work of one job."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._name: str | None = None
        self._points: deque[tuple[float, int]] = deque(maxlen=POINTS)  # when, items done

    def hear(self, report: Progress) -> JobProgress | None:
        """How far the job is after a report; None where that is of work inside the outermost."""
        now = self._clock()
        if self._name is None:
            self._name = report.name
            self._points.clear()
        elif report.name != self._name:
            return None
        if report.finished:
            self._name = None
        rate = self._rate(now, report.done)
        remaining = max(0, report.total - report.done) / rate if rate and report.total is not None else None
        return JobProgress(report.name, report.done, report.total, rate, remaining)

    def _rate(self, now: float, done: int) -> float | None:
        if not self._points:
            self._points.append((now, done))
        first_at, first_done = self._points[0]
        last_at, last_done = self._points[-1]
        if done > last_done and now - last_at >= SPACING:  # no point for a mere sign of life
            self._points.append((now, done))
        return (done - first_done) / (now - first_at) if done > first_done and now - first_at >= SPACING else None
