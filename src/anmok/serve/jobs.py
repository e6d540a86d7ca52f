"""Long jobs in the background: taken in, run one after another in threads, watched, cancelled, and not forgotten.

    kinds = {"index": lambda arguments, job: index_folder(open_collection(arguments["collection"]), ...)}
    jobs = Jobs(folder / "jobs.sqlite", kinds)
    job = jobs.submit("index", {"collection": "photos"}, unique="photos")

What was taken in is on the disk, and is run again from its start after any end of the process; so a function of a kind
must go on cheaply with what it finds. One that took the process down three times is not tried again. Progress is that
of `anmok.progress`, and a job stops where it reports progress: work that reports nothing cannot be stopped.

All methods but `watch` wait for the disk now and then: call them from a thread, not from the event loop.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import secrets
import time
from dataclasses import replace
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from anmok import progress
from anmok.errors import AnmokError, JobConflict, JobError, UnknownJob, did_you_mean
from anmok.files import disk_full
from anmok.serve.job import Job
from anmok.serve.job_log import JobLog
from anmok.serve.job_running import Running, Stopped
from anmok.serve.job_watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping
    from pathlib import Path

    from anmok.serve.job import JobState

__all__ = ["JobKind", "Jobs", "Running"]

JobKind: TypeAlias = "Callable[[dict[str, Any], Running], dict[str, Any]]"
"""Does a job: its arguments → its result, both JSON objects. May be called again for a job that was cut short."""

MOST_ATTEMPTS = 3
MOST_WAITING = 1000  # jobs that may be queued
KEPT = 1000  # jobs that are over
WRITTEN_EVERY = 1.0  # seconds, at least, between two writes of a job's progress
PAUSE = 5.0  # seconds until a job is tried again whose start could not be written

log = logging.getLogger("anmok.serve")


class Jobs:
    """The jobs of one process. Threads may share it."""

    def __init__(self, path: Path, kinds: Mapping[str, JobKind], *, workers: int = 1) -> None:
        """Open the log of jobs, and go on with those that are not over.

        Args:
            path: its SQLite file, which is made where there is none.
            kinds: by name, what jobs can be asked for.
            workers: how many run at the same time.

        Raises:
            JobError: another process uses the log, or it cannot be read or written.
        """
        self._kinds = dict(kinds)
        self._log = JobLog(path)
        self._lock = Condition()
        self._active: dict[str, Job] = {}  # as they are now; oldest first
        self._running: dict[str, Running] = {}
        self._watchers = Watchers()
        self._closing = False
        try:
            for job in self._log.unfinished():
                self._put(self._taken_up(job))
            self._log.prune(KEPT)
        except BaseException:
            self._log.close()
            raise
        self._threads = [Thread(target=self._work, name=f"anmok-job-{i}", daemon=True) for i in range(workers)]
        for thread in self._threads:
            thread.start()

    # What is asked from outside

    def submit(self, kind: str, arguments: dict[str, Any], *, unique: str | None = None) -> Job:
        """Take a job in; when this returns, it is on the disk.

        Args:
            kind: a name of those given at the start.
            arguments: a JSON object.
            unique: refuse it while a job with the same key is queued or running.

        Raises:
            JobConflict: one is; the message names it.
            JobError: there is no such kind, too many jobs wait, it cannot be written, or the service is stopping.
        """
        if kind not in self._kinds:
            known = ", ".join(self._kinds)
            raise JobError(f"there are no jobs of the kind {kind!r}, only {known}.{did_you_mean(kind, self._kinds)}")
        job = Job(secrets.token_hex(8), kind, copy.deepcopy(arguments), time.time(), unique)
        with self._lock:
            if self._closing:
                raise JobError("the service is stopping and takes no jobs: try again in a moment")
            unfinished = [other for other in self._active.values() if not other.over]
            for other in unfinished:
                if unique is not None and other.unique == unique:
                    raise JobConflict(other.id, other.state)
            if sum(other.state == "queued" for other in unfinished) >= MOST_WAITING:
                raise JobError(f"{MOST_WAITING} jobs are waiting already: try again when some are done")
            self._put(job)
            self._lock.notify()
        return job

    def get(self, id: str) -> Job:
        """A job as it is now.

        Raises:
            UnknownJob: there is none, or it was over so long ago that it is forgotten.
        """
        with self._lock:
            job = self._active.get(id) or self._log.get(id)
        if job is None:
            raise UnknownJob(f"there is no job {id!r}; of those that are over the newest {KEPT} are kept")
        return job

    def cancel(self, id: str) -> Job:
        """Stop a job. One that runs does so at its next report of progress; one that is over stays as it is.

        Raises:
            UnknownJob: there is none.
        """
        with self._lock:
            job = self.get(id)
            if job.state == "queued":
                job = replace(job, state="cancelled", finished_at=time.time())
                self._put(job)
            elif job.state == "running" and not job.cancelling:
                job = replace(job, cancelling=True)
                self._settle(job)  # on the disk first, so that a restart does not begin it again
                self._running[id].stop()
        return job

    async def watch(self, id: str) -> AsyncGenerator[Job, None]:
        """The job as it is now, then whenever it changed, until it is over or the service stops.

        States that follow each other quickly, or come while the caller is busy, are passed over for the newest.

        Raises:
            UnknownJob: there is none.
        """
        with self._watchers.watching(id) as watcher:  # before it is looked at, so that nothing is missed
            job: Job | None = await asyncio.to_thread(self.get, id)
            while job is not None:
                yield job
                job = None if job.over else await watcher.newer(job)

    def dismiss_watchers(self) -> None:
        """End every watch. For a server that stops: it waits for its open responses before it closes anything."""
        self._watchers.dismiss()

    def close(self, seconds: float = 10.0) -> None:
        """Stop. Jobs that run are interrupted at their next report of progress, and begun again by the next start.

        Args:
            seconds: to wait for them. The log stays locked by this process where one takes longer.
        """
        self.dismiss_watchers()
        with self._lock:
            if self._closing:
                return
            self._closing = True
            for running in self._running.values():
                running.stop()
            self._lock.notify_all()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            late = list(self._running)
            self._running.clear()
            for id in late:
                log.warning("job %s did not stop within %g seconds; it is begun again by the next start", id, seconds)
                self._settle(_interrupted(self._active[id]))
        if not late:
            self._log.close()

    def list(self, limit: int = 100, *, state: JobState | None = None) -> tuple[Job, ...]:
        """Up to `limit` jobs, the newest first; all, or those of one state."""
        with self._lock:
            return tuple(self._active.get(job.id, job) for job in self._log.newest(max(0, limit), state))

    # What the threads do

    def _work(self) -> None:
        while (running := self._next()) is not None:
            self._run(running)

    def _next(self) -> Running | None:
        """The job that waits longest, now running; None when the service stops."""
        with self._lock:
            while not self._closing:
                queued = next((job for job in self._active.values() if job.state == "queued"), None)
                if queued is None:
                    self._lock.wait()
                    continue
                started = {"state": "running", "started_at": time.time(), "attempts": queued.attempts + 1}
                job = replace(queued, **started)  # type: ignore[arg-type]
                try:
                    self._put(job)  # before it begins: it may take the process down
                except JobError:
                    log.exception("job %s cannot begin", job.id)
                    self._lock.wait(PAUSE)
                    continue
                self._running[job.id] = running = Running(job)
                return running
        return None

    def _run(self, running: Running) -> None:
        job = self._active[running.id]
        log.info("job %s (%s) begins", job.id, job.kind)
        try:
            with progress.listen(lambda report: self._hear(running, report)):
                result = _plain(self._kinds[job.kind](copy.deepcopy(job.arguments), running))
            changes: dict[str, Any] = {"state": "done", "result": result}
        except Stopped:
            changes = {"state": "cancelled"}
        except AnmokError as error:
            log.info("job %s (%s) failed: %s", job.id, job.kind, error)
            changes = {"state": "failed", "error": _plain(str(error))}
        except BaseException as error:  # whatever it is, the thread goes on with the next job
            log.exception("job %s (%s) failed", job.id, job.kind)
            told = f"an internal error (job {job.id}): the service's log says more"
            if disk_full(error):
                told = "the disk is full. What was done is kept: make room, and a new job goes on with it"
            changes = {"state": "failed", "error": told}
        self._end(running, changes)

    def _end(self, running: Running, changes: dict[str, Any]) -> None:
        with self._lock:
            if self._running.pop(running.id, None) is None:
                return  # it took too long to stop, and was given up
            job = self._active[running.id]
            if changes["state"] == "cancelled" and not job.cancelling:
                job = _interrupted(job)
            else:
                job = replace(job, **changes, finished_at=time.time(), cancelling=False)
            self._settle(job)
        log.info("job %s (%s): %s", job.id, job.kind, job.state)

    def _hear(self, running: Running, report: progress.Progress) -> None:
        """A report of progress, from any thread of the job."""
        if not report.finished:  # the end of a piece of work may be on the way of another error
            running.check()
        with self._lock:
            seen = running.hear(report)
            if seen is None or running.id not in self._running:
                return
            job = replace(self._active[running.id], progress=seen)
            self._show(job)
            if time.monotonic() - running.written_at >= WRITTEN_EVERY:
                running.written_at = time.monotonic()
                try:
                    self._log.write(job)
                except JobError as error:
                    log.warning("the progress of job %s is not kept: %s", job.id, error)

    # Keeping

    def _taken_up(self, job: Job) -> Job:
        """A job that is not over as the process before this one left it → as this one goes on with it."""
        failed = replace(job, state="failed", finished_at=time.time(), cancelling=False)
        if job.cancelling:
            return replace(failed, state="cancelled")
        if job.kind not in self._kinds:
            return replace(failed, error=f"this service has no jobs of the kind {job.kind!r}")
        if job.attempts >= MOST_ATTEMPTS:
            return replace(
                failed,
                error=f"the service went down {job.attempts} times while this job ran, so it is not tried again (out of"
                " memory? The system's log may say). What it had done is kept: a new job goes on with it",
            )
        return replace(job, state="queued", progress=None)

    def _put(self, job: Job) -> None:
        """Write a state, then show it. Raises JobError where it cannot be written."""
        self._log.write(job)
        self._show(job)
        if job.over:
            del self._active[job.id]

    def _settle(self, job: Job) -> None:
        """As `_put`; what cannot be written is shown all the same, and a restart knows nothing of it."""
        try:
            self._put(job)
            if job.over:
                self._log.prune(KEPT)
        except JobError:
            log.exception("the state of job %s cannot be kept", job.id)
            self._show(job)

    def _show(self, job: Job) -> None:
        self._active[job.id] = job
        self._watchers.tell(job)


def _interrupted(job: Job) -> Job:
    """It did not take the process down, so that was no attempt."""
    return replace(job, state="queued", progress=None, attempts=job.attempts - 1)


def _plain(value: Any) -> Any:
    """A JSON value as every client can read it: half characters, which names of files may have, become "?"."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return json.loads(text.encode("utf-8", "replace"))
