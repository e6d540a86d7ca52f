"""The log of jobs on disk: what was asked for is there after whatever end of the process.

One SQLite file, write-ahead log with `synchronous=FULL`: a job that was written is on the disk. One process at a time
may have it open, which a lock file beside it sees to; the lock ends with the process, also where that is killed.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from threading import Lock
from typing import TYPE_CHECKING

from anmok.errors import JobError
from anmok.files import locked
from anmok.serve.job import Job, JobProgress, JobState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["JobLog"]

FORMAT = 1  # in the file as its user_version
SCHEMA = (
    "CREATE TABLE jobs (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,"
    " job TEXT NOT NULL)",
    "CREATE INDEX jobs_by_state ON jobs (state, number)",
    f"PRAGMA user_version = {FORMAT}",
)
OVER = "state IN ('done', 'failed', 'cancelled')"
PATIENCE = 1.0  # seconds for the process before this one to let go


class JobLog:
    """All jobs that are not over, and the newest of those that are. Threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it with its folder.

        Raises:
            JobError: another process has it open, a newer version wrote it, or it cannot be read or written.
        """
        self.path = path
        self._lock = Lock()
        with ExitStack() as opened:
            self._require_alone(opened)
            with self._translated():
                self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                opened.callback(self._connection.close)
                self._prepare()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let go of the file, and of its lock."""
        with self._lock:
            self._opened.close()

    def write(self, job: Job) -> None:
        """Keep a job as it is now; a new one comes last.

        Raises:
            JobError: it cannot be written, or is no JSON.
        """
        try:
            text = json.dumps(asdict(job), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise JobError(f"a job of the kind {job.kind!r} cannot be kept as JSON: {error}") from error
        self._execute(
            "INSERT INTO jobs (id, state, job) VALUES (?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, job = excluded.job",
            (job.id, job.state, text),
        )

    def get(self, id: str) -> Job | None:
        """One job, or None."""
        ascii_id = id.encode("ascii", "replace").decode()  # no id has a character that SQLite cannot take
        jobs = self._jobs("WHERE id = ?", (ascii_id,))
        return jobs[0] if jobs else None

    def newest(self, limit: int, state: JobState | None = None) -> list[Job]:
        """The newest jobs, or the newest of one state; the newest first."""
        if state is None:
            return self._jobs("ORDER BY number DESC LIMIT ?", (limit,))
        return self._jobs("WHERE state = ? ORDER BY number DESC LIMIT ?", (state, limit))

    def unfinished(self) -> list[Job]:
        """The jobs that are queued or were running, the oldest first."""
        return self._jobs(f"WHERE NOT {OVER} ORDER BY number")

    def prune(self, keep: int) -> None:
        """Forget all but the newest `keep` jobs of those that are over."""
        last = f"SELECT number FROM jobs WHERE {OVER} ORDER BY number DESC LIMIT 1 OFFSET ?"  # noqa: S608
        self._execute(f"DELETE FROM jobs WHERE {OVER} AND number <= ({last})", (keep,))  # noqa: S608

    def _require_alone(self, opened: ExitStack) -> None:
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            alone = opened.enter_context(locked(lock, seconds=PATIENCE))
        except OSError as error:
            raise JobError(f"{lock} cannot be made ({error}): check the permissions of the folder") from error
        if not alone:
            raise JobError(
                f"another process uses {self.path}: stop it, or give this one a folder of its own. Two services cannot"
                " share their jobs"
            )

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA fullfsync = ON")  # macOS: through the disk's own cache; elsewhere without effect
        version = run("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise JobError(f"{self.path} was written by a newer anmok: update this one (pip install --upgrade anmok)")
        if version == 0:
            run("BEGIN")
            for statement in SCHEMA:
                run(statement)
            run("COMMIT")

    def _jobs(self, tail: str, values: tuple[object, ...] = ()) -> list[Job]:
        return [_from_json(text) for (text,) in self._execute(f"SELECT job FROM jobs {tail}", values)]  # noqa: S608

    def _execute(self, sql: str, values: tuple[object, ...]) -> list[tuple[str]]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise JobError(
                f"the log of jobs, {self.path.name}, cannot be used ({error}): is the disk full, or the file damaged?"
                " A damaged one can be moved away; collections have no part in it"
            ) from error


def _from_json(text: str) -> Job:
    fields = json.loads(text)
    if fields["progress"] is not None:
        fields["progress"] = JobProgress(**fields["progress"])
    return Job(**fields)
