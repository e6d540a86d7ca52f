from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.errors import JobError
from anmok.serve import job_log
from anmok.serve.job import Job, JobProgress
from anmok.serve.job_log import JobLog


@pytest.fixture
def log(path):
    log = JobLog(path)
    yield log
    log.close()


def a_job(number, state="done", **fields):
    return Job(f"{number:04}", "work", {"name": "a"}, float(number), state=state, **fields)


def ids(jobs):
    return [job.id for job in jobs]


def test_a_job_comes_back_as_it_was_also_from_a_new_opening(path):
    full = a_job(
        1,
        unique="photos",
        started_at=2.5,
        finished_at=3.0,
        attempts=2,
        progress=JobProgress("indexing", 3, None, 1.5, None),
        result={"가": ["\udce9", 1, None]},
        error="no",
    )
    log = JobLog(path)
    log.write(replace(full, state="running"))
    log.write(full)
    log.close()
    log = JobLog(path)
    assert log.get("0001") == full
    assert log.get("0002") is None
    log.close()


@pytest.fixture(scope="module")
def log_of_one(tmp_path_factory):
    log = JobLog(tmp_path_factory.mktemp("log") / "jobs.sqlite")
    log.write(a_job(1))
    yield log
    log.close()


@given(id=st.text(st.characters(codec=None)))
def test_no_text_is_an_id_by_accident(id, log_of_one):
    assert log_of_one.get(id) is None


def test_newest_come_first_and_unfinished_in_the_order_they_came(log):
    states = ["done", "queued", "failed", "running", "cancelled", "queued"]
    for number, state in enumerate(states):
        log.write(a_job(number, state))
    log.write(a_job(1, "running"))  # a change does not make it newer
    assert ids(log.newest(3)) == ["0005", "0004", "0003"]
    assert ids(log.newest(9, "running")) == ["0003", "0001"]
    assert ids(log.unfinished()) == ["0001", "0003", "0005"]


def test_the_newest_of_those_that_are_over_are_kept_and_all_others(log):
    for number in range(20):
        log.write(a_job(number, "queued" if number in (0, 7) else "done"))
    log.prune(100)
    assert len(log.newest(100)) == 20
    log.prune(3)
    assert ids(log.newest(100)) == ["0019", "0018", "0017", "0007", "0000"]


def test_a_number_is_never_given_again_so_the_order_stays(log):
    for number in range(3):
        log.write(a_job(number))
    log.prune(0)
    log.write(a_job(9))
    log.write(a_job(4))
    assert ids(log.newest(5)) == ["0004", "0009"]


def test_a_second_one_is_refused_and_the_file_is_free_again_after_the_first(path, monkeypatch):
    monkeypatch.setattr(job_log, "PATIENCE", 0.01)
    first = JobLog(path)
    with pytest.raises(JobError, match=r"another process uses .*jobs\.sqlite: stop it"):
        JobLog(path)
    first.write(a_job(1))
    first.close()
    JobLog(path).close()


def test_what_is_no_json_is_refused(log):
    for bad in ({"a": float("nan")}, {"a": object()}, {"a": b"bytes"}):
        with pytest.raises(JobError, match="of the kind 'work' cannot be kept as JSON"):
            log.write(replace(a_job(1), result=bad))
    assert log.newest(5) == []


def test_a_damaged_file_one_of_a_newer_version_and_a_folder_that_cannot_be_are_named(path):
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(JobError, match=r"jobs\.sqlite, cannot be used .* damaged"):
        JobLog(path)
    path.unlink()
    JobLog(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(JobError, match="written by a newer anmok"):
        JobLog(path)
    (path.parent / "file").write_text("")
    with pytest.raises(JobError, match="cannot be made"):
        JobLog(path.parent / "file" / "jobs.sqlite")


def test_every_write_waits_for_the_disk(log):
    assert log._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
