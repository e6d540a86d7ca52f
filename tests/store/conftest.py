"""Stores in temporary folders, random unit vectors, and child processes that write to a store."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

import anmok
from anmok.store import Store, StoreLimits

D = 8
SMALL = StoreLimits(exact_rows=100, block_rows=32, busy_timeout_s=0.2)  # a few hundred rows use the index


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """The graph that usearch builds depends on the order in which threads come."""
    monkeypatch.setenv("ANMOK_THREADS", "1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pictures.anmok"


@pytest.fixture
def opened(path):
    """Open the store at `path` (or another one); all are closed after the test."""
    with ExitStack() as stack:

        def open_store(at=None, *, limits=SMALL, dimension=D, create=True, readonly=False, **options):
            return stack.enter_context(
                Store.open(
                    at or path,
                    dimension=None if readonly else dimension,
                    create=create and not readonly,
                    readonly=readonly,
                    limits=limits,
                    **options,
                )
            )

        yield open_store


@pytest.fixture
def store(opened):
    return opened()


@pytest.fixture
def vectors():
    """`vectors(n)`: random unit rows [n, 8], the same in every run."""

    def make(count, seed=0):
        rows = np.random.default_rng(seed).normal(size=(count, D))
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    return make


@pytest.fixture
def child():
    """`child(code, *arguments)`: a Python process with pipes; it is killed after the test if it still lives."""
    started = []
    source = str(Path(anmok.__file__).parents[1])

    def start(code, *arguments):
        environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def fill(vectors):
    """`fill(store, n)`: rows k0..k(n-1), metadata {"n": i, "folder": "a" or "b"}; returns the vectors."""

    def write(store, count, first=0, seed=0):
        rows = vectors(count, seed + first)
        numbers = range(first, first + count)
        facts = [{"n": number, "folder": "ab"[number % 2]} for number in numbers]
        store.upsert([f"k{number}" for number in numbers], rows, facts)
        return rows

    return write
