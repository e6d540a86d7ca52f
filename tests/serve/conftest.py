"""Jobs whose functions wait for the test, and small pictures."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from anmok import progress
from anmok.serve.jobs import Jobs

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Workshop:
    """A kind of job that begins, and then does what the test says.

    A job's arguments hold a `name`; `end(name)` ends it with a result, or with an error that it raises. Until then it
    reports progress every few milliseconds, `items` of 10.
    """

    began: list[str] = field(default_factory=list)
    ends: dict[str, object] = field(default_factory=dict)
    items: int = 0
    stubborn: set[str] = field(default_factory=set)  # these report nothing
    changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, arguments, job):
        name = arguments["name"]
        with self.changed:
            self.began.append(name)
            self.changed.notify_all()
        with progress.task("working", 10) as advance:
            told = 0
            while name not in self.ends:
                with self.changed:
                    self.changed.wait(0.005)
                if name not in self.stubborn:
                    advance(self.items - told)
                    told = self.items
        end = self.ends[name]
        if isinstance(end, BaseException):
            raise end
        return end

    def end(self, name, result=None):
        with self.changed:
            self.ends[name] = {"name": name} if result is None else result
            self.changed.notify_all()

    def wait_for(self, name):
        with self.changed:
            assert self.changed.wait_for(lambda: name in self.began, 10), name


@pytest.fixture
def workshop():
    return Workshop()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "service" / "jobs.sqlite"


@pytest.fixture
def open_jobs(path, workshop):
    """Open the jobs, of the kind "work" and others; they are closed at the end."""
    opened = []

    def opening(where=path, workers=1, **kinds):
        opened.append(Jobs(where, {"work": workshop, **kinds}, workers=workers))
        return opened[-1]

    yield opening
    for jobs in opened:
        workshop.stubborn.clear()
        jobs.close()


@pytest.fixture
def jobs(open_jobs):
    return open_jobs()


def until(jobs, id, *states):
    """The job once it has one of the states; `over` without any."""
    deadline = time.monotonic() + 10
    while True:
        job = jobs.get(id)
        if job.state in (states or ("done", "failed", "cancelled")):
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.002)


@pytest.fixture(name="until")
def _until():
    return until


@pytest.fixture
def paint():
    """Write so many different pictures into a folder."""

    def painting(folder: Path, count: int, *, seed: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.random.default_rng((seed, number)).integers(0, 255, (6, 6, 3), np.uint8)
            Image.fromarray(pixels).resize((24, 24)).save(folder / f"{number:03}.png")
        return folder

    return painting
