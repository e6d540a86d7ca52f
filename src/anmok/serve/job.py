"""What a long job is, as plain data: the log keeps it, watchers are shown it, routes answer with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = ["Job", "JobProgress", "JobState"]

JobState: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class JobProgress:
    """How far the outermost piece of work of a job is.

    `name`: of the work. `done` of `total` items; the total is None where it is not known.
    `rate`: items a second of late, `remaining_s`: seconds left at that rate; None while too little is known.
    """

    name: str
    done: int
    total: int | None
    rate: float | None = None
    remaining_s: float | None = None


@dataclass(frozen=True)
class Job:
    """One long job at one moment.

    `kind`, `arguments`: what to do. `unique`: no two jobs with the same are there at once; None for no such promise.
    `submitted_at`, `started_at`, `finished_at`: seconds since 1970. `attempts`: how often it was started.
    `cancelling`: it runs, and will stop at its next report of progress.
    `result`: of a job that is done, a JSON object. `error`: of one that failed, a text for the client.
    """

    id: str
    kind: str
    arguments: dict[str, Any]
    submitted_at: float
    unique: str | None = None
    state: JobState = "queued"
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    cancelling: bool = False
    progress: JobProgress | None = None
    result: dict[str, Any] | None = None
    error: str | None = None

    @property
    def over(self) -> bool:
        """Whether nothing about it will change any more."""
        return self.state in ("done", "failed", "cancelled")
