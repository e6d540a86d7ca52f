"""A job that runs: how it is told to stop, and how far it is."""

from __future__ import annotations

import time
from threading import Event
from typing import TYPE_CHECKING

from anmok.serve.job_meter import Meter

if TYPE_CHECKING:
    from anmok.progress import Progress
    from anmok.serve.job import Job, JobProgress

__all__ = ["Running", "Stopped"]


class Stopped(BaseException):
    """Ends a job from inside. No Exception, so that no `except Exception` on the way takes it for a failure."""


class Running:
    """What the function of a kind is given of its job.

    Its reports of progress are heard in its own thread, and in others that run in a copy of its context.
    """

    def __init__(self, job: Job) -> None:
        self.id = job.id
        self.written_at = time.monotonic()  # when its progress was last kept
        self._stop = Event()
        self._meter = Meter()

    def check(self) -> None:
        """End the job here if it is to stop. Every report of progress does this; long work without any should."""
        if self._stop.is_set():
            raise Stopped

    def stop(self) -> None:
        """Have it end at its next check."""
        self._stop.set()

    def hear(self, report: Progress) -> JobProgress | None:
        """How far it is after a report; None where nothing is new. One thread at a time."""
        return self._meter.hear(report)
