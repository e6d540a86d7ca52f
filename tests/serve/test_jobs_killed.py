"""Real processes that are killed while they do a real job, and what the next process makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import anmok
from anmok.checkpoints import save_checkpoint
from anmok.collections import Collection
from anmok.errors import JobError
from anmok.serve import job_log
from anmok.serve.jobs import Jobs
from anmok.serve.tasks import index_folder, re_encode

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")

PICTURES = 24

SCRIPT = """
import os, sys, time
from pathlib import Path
import anmok
from anmok.collections import Collection, batch
from anmok.encoder import Encoder
from anmok.serve.jobs import Jobs
from anmok.serve.tasks import index_folder, re_encode
base, tiny, kind, die_at = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
batch.BATCH_FILES = 4
encoded, run = 0, Encoder._run_image

def counting(self, prepared):
    global encoded
    encoded += len(prepared)
    if encoded > die_at >= 0:
        os.kill(os.getpid(), 9)
    with (base / "encoded").open("a") as file:
        file.write("." * len(prepared))
    return run(self, prepared)

Encoder._run_image = counting

def index(arguments, job):
    with Collection(base / "c.anmok", encoder=anmok.load(tiny)) as collection:
        result = index_folder(collection, base / "photos")
    os.kill(os.getpid(), 9)  # all is done, and nobody was told

def move(arguments, job):
    with Collection(base / "c.anmok") as collection:
        result = re_encode(collection, anmok.load(base / "other"))
    os.kill(os.getpid(), 9)

def wait(arguments, job):
    print("begun", flush=True)
    time.sleep(60)

jobs = Jobs(base / "jobs.sqlite", {"index": index, "move": move, "wait": wait})
if not jobs.list(state="running"):
    jobs.submit(kind, {})
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path, tiny_folder):
    processes = []

    def starting(kind, die_at=-1):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(tiny_folder), kind, str(die_at)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield starting
    for process in processes:
        process.kill()
        process.communicate()


def dies(process):
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -9, errors


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    return anmok.load(tiny_folder)


def test_an_index_that_is_killed_again_and_again_is_gone_on_with(start, tmp_path, paint, tiny, until):
    photos = paint(tmp_path / "photos", PICTURES)
    dies(start("index", die_at=10))
    with Collection(tmp_path / "c.anmok", encoder=tiny) as collection:
        first = len(collection)
        assert first in (0, 4, 8)
    dies(start("index"))  # at the end of the job, before that is written

    def index(arguments, job):
        with Collection(tmp_path / "c.anmok", encoder=tiny) as collection:
            return index_folder(collection, photos)

    jobs = Jobs(tmp_path / "jobs.sqlite", {"index": index})
    (job,) = jobs.list()
    job = until(jobs, job.id)
    jobs.close()
    assert (job.state, job.attempts, job.result["unchanged"], job.result["added"]) == ("done", 3, PICTURES, 0)
    # what was written is encoded once, what was under way at the first kill twice
    assert len((tmp_path / "encoded").read_text()) <= 10 + PICTURES - first


def test_a_move_that_is_killed_is_gone_on_with_and_one_killed_after_its_switch_is_done(
    start, tmp_path, paint, tiny, wider_checkpoint, until
):
    photos = paint(tmp_path / "photos", PICTURES)
    save_checkpoint(wider_checkpoint, tmp_path / "other")
    with Collection(tmp_path / "c.anmok", encoder=tiny) as collection:
        collection.add_folder(photos)
    dies(start("move", die_at=10))
    with Collection(tmp_path / "c.anmok", encoder=tiny) as collection:
        assert collection.add_folder(photos).unchanged == PICTURES
    dies(start("move"))
    assert len((tmp_path / "encoded").read_text()) == PICTURES  # each once
    wider = anmok.load(tmp_path / "other")

    def move(arguments, job):
        with Collection(tmp_path / "c.anmok") as collection:
            return re_encode(collection, wider)

    jobs = Jobs(tmp_path / "jobs.sqlite", {"move": move})
    job = until(jobs, jobs.list()[0].id)
    jobs.close()
    assert (job.state, job.result["switched"], job.result["encoded"]) == ("done", True, 0)
    with Collection(tmp_path / "c.anmok", encoder=wider) as collection:
        assert collection.add_folder(photos).unchanged == PICTURES


def test_another_process_is_refused_until_the_first_is_killed(start, tmp_path, monkeypatch):
    monkeypatch.setattr(job_log, "PATIENCE", 0.01)
    process = start("wait")
    assert process.stdout.readline() == "begun\n"
    with pytest.raises(JobError, match="another process uses"):
        Jobs(tmp_path / "jobs.sqlite", {})
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    jobs = Jobs(tmp_path / "jobs.sqlite", {"wait": lambda arguments, job: {}})
    assert jobs.list()[0].attempts >= 1
    jobs.close()
