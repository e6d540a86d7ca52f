from __future__ import annotations

import contextvars
import json
import logging
import shutil
import sqlite3
import threading
import time
from dataclasses import asdict

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from anmok import progress
from anmok.errors import JobConflict, JobError, StoreError, UnknownJob
from anmok.serve import job_log
from anmok.serve import jobs as engine
from anmok.serve.jobs import Jobs


def submitted(jobs, name, **options):
    return jobs.submit("work", {"name": name}, **options)


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# From beginning to end


def test_a_job_is_queued_runs_and_is_done(jobs, workshop, until):
    first, second = submitted(jobs, "a"), submitted(jobs, "b")
    assert (first.state, first.attempts, first.over) == ("queued", 0, False)
    workshop.wait_for("a")
    assert jobs.get(first.id).state == "running"
    assert jobs.get(second.id).state == "queued"
    workshop.end("b")
    workshop.end("a")
    assert until(jobs, second.id).result == {"name": "b"}
    job = jobs.get(first.id)
    assert (job.state, job.result, job.error, job.attempts) == ("done", {"name": "a"}, None, 1)
    assert time.time() - 60 < job.submitted_at <= job.started_at <= job.finished_at <= time.time()
    assert [each.id for each in jobs.list()] == [second.id, first.id]
    json.dumps([asdict(each) for each in jobs.list()], allow_nan=False)


def test_as_many_run_at_once_as_there_are_workers(open_jobs, workshop, until):
    jobs = open_jobs(workers=2)
    made = [submitted(jobs, name) for name in "abc"]
    workshop.wait_for("a")
    workshop.wait_for("b")
    assert [jobs.get(job.id).state for job in made] == ["running", "running", "queued"]
    workshop.end("b")
    workshop.wait_for("c")
    for name in "ac":
        workshop.end(name)
    assert {until(jobs, job.id).state for job in made} == {"done"}


def test_errors_on_purpose_are_told_and_others_only_to_the_log(jobs, workshop, until, caplog):
    ends = [StoreError("the folder is gone: \udce9"), ValueError("secret /srv/path"), SystemExit("no"), {"a": object()}]
    made = [submitted(jobs, str(number)) for number in range(len(ends))]
    for number, end in enumerate(ends):
        workshop.end(str(number), end)
    finished = [until(jobs, job.id) for job in made]
    assert {job.state for job in finished} == {"failed"}
    assert finished[0].error == "the folder is gone: ?"
    for job in finished[1:]:
        assert job.error == f"an internal error (job {job.id}): the service's log says more"
    assert "secret /srv/path" in caplog.text
    assert "Traceback" in caplog.text
    assert {record.name for record in caplog.records} == {"anmok.serve"}


def test_a_result_is_readable_to_every_client(jobs, workshop, until):
    job = submitted(jobs, "a")
    workshop.end("a", {"picture": "caf\udce9.png", "가": 1})
    assert until(jobs, job.id).result == {"picture": "caf?.png", "가": 1}


def test_arguments_belong_to_the_job(open_jobs, until):
    def meddle(arguments, job):
        arguments["list"].append(2)
        return arguments

    jobs, given = open_jobs(meddle=meddle), {"list": [1]}
    job = jobs.submit("meddle", given)
    given["list"].append(3)
    assert until(jobs, job.id).result == {"list": [1, 2]}
    assert jobs.get(job.id).arguments == {"list": [1]}


def test_what_cannot_be_taken_in_is_refused(jobs, monkeypatch):
    with pytest.raises(JobError, match=r"no jobs of the kind 'wrok', only work\. Did you mean 'work'"):
        jobs.submit("wrok", {})
    with pytest.raises(JobError, match="cannot be kept as JSON"):
        jobs.submit("work", {"name": {1, 2}})
    monkeypatch.setattr(engine, "MOST_WAITING", 2)
    running = submitted(jobs, "a")
    wait_until(lambda: jobs.get(running.id).state == "running")
    submitted(jobs, "b")
    submitted(jobs, "c")
    with pytest.raises(JobError, match="2 jobs are waiting already"):
        submitted(jobs, "d")
    for id in ("", "0" * 16, "가", "\ud800", "a\0b", "x" * 10**6):
        for ask in (jobs.get, jobs.cancel):
            with pytest.raises(UnknownJob, match="there is no job"):
                ask(id)


def test_one_with_the_same_key_is_refused_until_the_first_is_over(jobs, workshop, until):
    first = submitted(jobs, "a", unique="photos")
    workshop.wait_for("a")
    with pytest.raises(JobConflict, match=f"job {first.id} is running and does the same") as refused:
        submitted(jobs, "b", unique="photos")
    assert refused.value.job == first.id
    queued = submitted(jobs, "c", unique="others")
    submitted(jobs, "d")
    submitted(jobs, "e")
    with pytest.raises(JobConflict, match=f"job {queued.id} is queued"):
        submitted(jobs, "f", unique="others")
    jobs.cancel(queued.id)
    submitted(jobs, "g", unique="others")
    workshop.end("a")
    until(jobs, first.id)
    submitted(jobs, "h", unique="photos")


def test_lists_are_bounded_and_by_state(jobs, workshop, until):
    made = [submitted(jobs, str(number)) for number in range(5)]
    workshop.wait_for("0")
    assert [job.id for job in jobs.list(2)] == [made[4].id, made[3].id]
    assert [job.id for job in jobs.list(state="running")] == [made[0].id]
    assert len(jobs.list(state="queued")) == 4
    assert jobs.list(0) == jobs.list(-1) == ()


def test_old_jobs_are_forgotten(open_jobs, workshop, until, monkeypatch):
    monkeypatch.setattr(engine, "KEPT", 3)
    jobs = open_jobs()
    made = [submitted(jobs, str(number)) for number in range(6)]
    for number in range(6):
        workshop.end(str(number))
    until(jobs, made[5].id)
    assert [job.id for job in jobs.list()] == [job.id for job in reversed(made[3:])]
    with pytest.raises(UnknownJob, match="there is no job"):
        jobs.get(made[2].id)


# Progress


def test_progress_is_the_outermost_work_and_is_kept_with_the_job(open_jobs, path, until):
    step = threading.Barrier(2, timeout=10)

    def nested(arguments, job):
        with progress.task("outer", 4) as advance:
            advance(1)
            with progress.task("inner", 100) as advance_inner:
                advance_inner(50)
                step.wait()
                step.wait()
            with progress.quiet(), progress.task("quiet", 9):
                pass
            advance(2)
        return {}

    jobs = open_jobs(nested=nested)
    job = jobs.submit("nested", {})
    step.wait()
    seen = jobs.get(job.id).progress
    assert (seen.name, seen.done, seen.total) == ("outer", 1, 4)
    step.wait()
    assert until(jobs, job.id).progress.done == 3
    jobs.close()
    assert open_jobs().get(job.id).progress.done == 3


def test_progress_is_written_once_a_second_at_most(open_jobs, until, monkeypatch):
    writes = []
    real = job_log.JobLog.write
    monkeypatch.setattr(job_log.JobLog, "write", lambda self, job: writes.append(job) or real(self, job))
    monkeypatch.setattr(engine, "WRITTEN_EVERY", 0.1)

    def busy(arguments, job):
        end = time.monotonic() + 0.35
        with progress.task("busy") as advance:
            while time.monotonic() < end:
                advance(1)
        return {}

    jobs = open_jobs(busy=busy)
    done = until(jobs, jobs.submit("busy", {}).id)
    assert done.progress.done > 100
    assert 1 <= len(writes) - 3 <= 3  # but for: queued, running, done


def test_other_threads_of_a_job_are_heard_in_a_copy_of_its_context_and_not_after_its_end(open_jobs, until):
    go, ended = threading.Event(), threading.Event()

    def late(advance):
        advance(1)
        go.wait(10)
        advance(1)
        ended.set()

    def spread(arguments, job):
        with progress.task("spread", 2) as advance:
            threading.Thread(target=contextvars.copy_context().run, args=(late, advance)).start()
            while jobs.get(job.id).progress.done < 1:
                time.sleep(0.002)
        return {}

    jobs = open_jobs(spread=spread)
    job = until(jobs, jobs.submit("spread", {}).id)
    go.set()
    assert ended.wait(10)
    assert jobs.get(job.id) == job
    assert jobs.list() == (job,)


# Cancelling


def test_one_that_waits_is_cancelled_at_once_and_never_begins(jobs, workshop, until):
    first, second = submitted(jobs, "a"), submitted(jobs, "b")
    workshop.wait_for("a")
    assert jobs.cancel(second.id).state == "cancelled"
    workshop.end("a")
    until(jobs, first.id)
    third = submitted(jobs, "c")
    workshop.wait_for("c")
    assert workshop.began == ["a", "c"]
    assert jobs.cancel(second.id).state == "cancelled"  # once more changes nothing
    assert jobs.cancel(first.id).state == "done"
    assert jobs.get(third.id).state == "running"


def test_one_that_runs_stops_at_its_next_report_and_the_next_begins(jobs, workshop, until):
    workshop.stubborn.add("a")
    first, second = submitted(jobs, "a"), submitted(jobs, "b")
    workshop.wait_for("a")
    for _ in range(2):
        job = jobs.cancel(first.id)
        assert (job.state, job.cancelling) == ("running", True)
    workshop.stubborn.clear()
    job = until(jobs, first.id)
    assert (job.state, job.cancelling, job.result, job.error) == ("cancelled", False, None, None)
    assert job.finished_at is not None
    until(jobs, second.id, "running")


def test_one_that_was_done_all_the_same_is_done(jobs, workshop, until):
    workshop.stubborn.add("a")
    job = submitted(jobs, "a")
    workshop.wait_for("a")
    jobs.cancel(job.id)
    workshop.end("a")
    assert until(jobs, job.id).state == "done"


def test_no_except_on_the_way_swallows_it_and_what_must_be_undone_is(open_jobs, until):
    undone = []

    def careless(arguments, job):
        while True:
            try:
                job.check()
                time.sleep(0.002)
            except Exception:
                undone.append("swallowed")
            finally:
                undone.append("finally")

    jobs = open_jobs(careless=careless)
    job = jobs.submit("careless", {})
    until(jobs, job.id, "running")
    jobs.cancel(job.id)
    assert until(jobs, job.id).state == "cancelled"
    assert set(undone) == {"finally"}


# Stopping and starting


def test_a_restart_begins_again_what_was_not_over_in_order(open_jobs, workshop, until):
    jobs = open_jobs()
    made = [submitted(jobs, name) for name in "abc"]
    workshop.wait_for("a")
    jobs.close()
    with pytest.raises(JobError, match="the service is stopping"):
        submitted(jobs, "d")
    jobs = open_jobs()
    for name in "cba":
        workshop.end(name)
    assert [until(jobs, job.id).state for job in made] == ["done"] * 3
    assert workshop.began == ["a", "a", "b", "c"]
    assert jobs.get(made[0].id).attempts == 1  # to be stopped is no failed attempt


def test_one_that_does_not_stop_in_time_is_given_up_and_the_log_stays_locked(
    open_jobs, path, workshop, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(job_log, "PATIENCE", 0.01)
    workshop.stubborn.add("a")
    jobs = open_jobs()
    job = submitted(jobs, "a")
    workshop.wait_for("a")
    began = time.monotonic()
    jobs.close(0.05)
    assert time.monotonic() - began < 2
    assert f"job {job.id} did not stop within 0.05 seconds" in caplog.text
    with pytest.raises(JobError, match="another process uses"):
        Jobs(path, {})
    workshop.end("a")
    jobs._threads[0].join(10)
    left = jobs.get(job.id)
    assert (left.state, left.attempts, left.result) == ("queued", 0, None)
    jobs._log.close()


def copy_as_killed(jobs, path, target):
    """The log as a kill at this moment leaves it."""
    target.mkdir()
    with jobs._lock:
        for name in (path.name, path.name + "-wal"):
            shutil.copy(path.with_name(name), target / name)
    return target / path.name


def test_after_a_kill_a_cancelled_job_stays_cancelled_and_an_unknown_kind_fails(open_jobs, path, workshop, tmp_path):
    workshop.stubborn.add("a")
    jobs = open_jobs(old=workshop)
    running, queued, old = submitted(jobs, "a"), submitted(jobs, "b"), jobs.submit("old", {"name": "c"})
    workshop.wait_for("a")
    jobs.cancel(running.id)
    after = open_jobs(copy_as_killed(jobs, path, tmp_path / "after"))
    assert after.get(running.id).state == "cancelled"
    assert after.get(old.id).error == "this service has no jobs of the kind 'old'"
    workshop.wait_for("b")
    assert after.get(queued.id).state == "running"


def test_one_that_takes_the_process_down_three_times_is_not_tried_again(open_jobs, path, workshop, tmp_path, until):
    jobs = open_jobs()
    deadly, harmless = submitted(jobs, "deadly"), submitted(jobs, "harmless")
    for attempt in (1, 2, 3):
        assert until(jobs, deadly.id, "running").attempts == attempt
        jobs = open_jobs(copy_as_killed(jobs, jobs._log.path, tmp_path / str(attempt)))
    job = jobs.get(deadly.id)
    assert job.state == "failed"
    assert job.error.startswith("the service went down 3 times while this job ran, so it is not tried again")
    workshop.end("harmless")
    assert until(jobs, harmless.id).attempts == 1


def refuse_writes(jobs, path):
    """As a full disk does, until what comes back is rolled back."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    jobs._log._connection.execute("PRAGMA busy_timeout = 0")
    return other


def test_what_fills_the_disk_can_be_cancelled(jobs, path, workshop, until):
    job = submitted(jobs, "a")
    workshop.wait_for("a")
    other = refuse_writes(jobs, path)
    jobs.cancel(job.id)
    assert until(jobs, job.id).state == "cancelled"
    other.close()


def test_a_full_disk_loses_no_job_that_was_taken_in(open_jobs, path, workshop, until, monkeypatch, caplog):
    monkeypatch.setattr(engine, "PAUSE", 0.01)
    monkeypatch.setattr(engine, "WRITTEN_EVERY", 0.0)
    jobs = open_jobs()
    running, queued = submitted(jobs, "a"), submitted(jobs, "b")
    workshop.wait_for("a")
    real = refuse_writes(jobs, path)
    with pytest.raises(JobError, match=r"jobs\.sqlite, cannot be used .* is the disk full"):
        submitted(jobs, "c")
    with pytest.raises(JobError, match="cannot be used"):
        jobs.cancel(queued.id)
    workshop.items = 7
    wait_until(lambda: jobs.get(running.id).progress.done == 7)
    workshop.end("a")
    assert until(jobs, running.id).state == "done"  # it says so, though that is not kept
    wait_until(lambda: f"job {queued.id} cannot begin" in caplog.text)
    real.execute("ROLLBACK")
    real.close()
    workshop.end("b")
    assert until(jobs, queued.id).state == "done"
    assert jobs.get(running.id).state == "done"
    assert workshop.began == ["a", "b"]
    jobs.close()
    again = open_jobs()
    assert until(again, running.id).attempts == 2
    assert until(again, queued.id).attempts == 1


# Any order of events


class AnyOrder(RuleBasedStateMachine):
    """Submissions, ends, cancellations, restarts and kills in any order, against a list of what must be."""

    @initialize()
    def begin(self):
        self.base = self.factory.mktemp("machine")
        self.opened = 0
        self.path = self.base / "jobs.sqlite"
        self.workshop = self.make_workshop()
        self.jobs = Jobs(self.path, {"work": self.workshop})
        self.model = {}  # id → [name, state, attempts, unique]

    def teardown(self):
        if hasattr(self, "jobs"):
            self.jobs.close()
            shutil.rmtree(self.base)

    def _begin_next(self):
        """What the one worker does by itself."""
        rows = list(self.model.values())
        if not any(row[1] == "running" for row in rows):
            for row in rows:
                if row[1] == "queued":
                    row[1], row[2] = "running", row[2] + 1
                    break

    def _running(self):
        return next((row for row in self.model.values() if row[1] == "running"), None)

    @rule(unique=st.sampled_from([None, None, "x"]))
    def submit(self, unique):
        name = str(len(self.model))
        taken = unique and any(row[3] == unique and row[1] in ("queued", "running") for row in self.model.values())
        if taken:
            with pytest.raises(JobConflict):
                self.jobs.submit("work", {"name": name}, unique=unique)
        else:
            job = self.jobs.submit("work", {"name": name}, unique=unique)
            self.model[job.id] = [name, "queued", 0, unique]
            self._begin_next()

    @precondition(lambda self: self._running())
    @rule(end=st.sampled_from([None, StoreError("no"), KeyError("bug")]))
    def end(self, end):
        row = self._running()
        row[1] = "failed" if end else "done"
        self.workshop.end(row[0], end)
        self._begin_next()

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data):
        id = data.draw(st.sampled_from(list(self.model)))
        if self.model[id][1] in ("queued", "running"):
            self.model[id][1] = "cancelled"
        self.jobs.cancel(id)
        self._begin_next()

    @rule()
    def restart(self):
        self.jobs.close()
        if row := self._running():
            row[1], row[2] = "queued", row[2] - 1
        self._begin_next()
        self.jobs = Jobs(self.path, {"work": self.workshop})

    @rule()
    def kill(self):
        self.opened += 1
        after = copy_as_killed(self.jobs, self.path, self.base / str(self.opened))
        self.jobs.close()
        if row := self._running():
            row[1] = "failed" if row[2] >= 3 else "queued"
        self._begin_next()
        self.path, self.jobs = after, Jobs(after, {"work": self.workshop})

    @invariant()
    def everything_is_as_it_must_be(self):
        wanted = [(id, state, attempts) for id, (_, state, attempts, _) in self.model.items()][::-1]
        wait_until(lambda: [(job.id, job.state, job.attempts) for job in self.jobs.list(1000)] == wanted)


def test_any_order_of_events_leaves_what_must_be(tmp_path_factory, workshop):
    logging.getLogger("anmok.serve").setLevel(logging.CRITICAL)
    AnyOrder.factory, AnyOrder.make_workshop = tmp_path_factory, type(workshop)
    try:
        run_state_machine_as_test(
            AnyOrder,
            settings=settings(
                max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        logging.getLogger("anmok.serve").setLevel(logging.NOTSET)
