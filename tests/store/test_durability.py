"""What was acknowledged survives: children are really killed, and power losses are played through on the log.

TORTURE_ROUNDS sets how often a child is killed (20 unless told).
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import anmok
from anmok.store import Store, StoreLimits
from anmok.store.database import DATABASE

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "20"))
BATCH = 4  # rows of one commit
KEPT = 30  # commits whose rows are still there; older ones are deleted in the same transaction

WRITER = """
import sys
import numpy as np
from anmok.store import Store, StoreLimits

limits = StoreLimits(exact_rows=40, block_rows=16)
with Store.open(sys.argv[1], dimension=8, create=True, limits=limits) as store:
    log = store.documents("log")
    number = log.get("last", 0)
    while True:
        number += 1
        rows = np.random.default_rng(number).normal(size=(4, 8))
        with store.transaction():
            store.upsert([f"{number}-{row}" for row in range(4)], rows, [{"commit": number}] * 4)
            store.delete([f"{number - 30}-{row}" for row in range(4)])
            log["last"] = number
        print(number, flush=True)
        if number % 16 == 0:
            store.rebuild_index()
        if number % 23 == 0:
            store.compact()
"""


def require_state_after(store, number):
    """The store is what it was after commit `number`: all of its rows, no half of another."""
    commits = range(max(1, number - KEPT + 1), number + 1)
    assert store.keys() == [f"{commit}-{row}" for commit in commits for row in range(BATCH)]
    if commits:
        rows = np.concatenate([np.random.default_rng(commit).normal(size=(BATCH, 8)) for commit in commits])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        kept = np.concatenate([vectors for _, vectors, _ in store.scan()])
        np.testing.assert_allclose(kept, rows, atol=1e-3)
        assert [matches[0].key for matches in store.search(rows[-BATCH:], 1)] == store.keys()[-BATCH:]


def test_acknowledged_rows_survive_kill_9(path, child):
    chance = random.Random(ROUNDS)
    last = 0
    for _ in range(ROUNDS):
        process = child(WRITER, path)
        for _ in range(chance.randrange(1, 12)):
            last = int(process.stdout.readline())
        time.sleep(chance.random() * 0.02)  # into the middle of something
        process.kill()
        acknowledged = [int(line) for line in process.stdout]
        assert process.wait() in (-getattr(signal, "SIGKILL", 9), 1)
        last = max([last, *acknowledged])
        with Store.open(path, limits=StoreLimits(exact_rows=40, block_rows=16)) as store:
            number = store.documents("log")["last"]
            assert number in (last, last + 1)  # the next one may have been committed but not yet told
            require_state_after(store, number)
            assert store.check().problems == ()
            last = number
    assert last >= ROUNDS


def commits_in_the_log(path, count):
    """Make commits that stay in the write-ahead log; bytes of the log after each."""
    sizes = []
    store = Store.open(path, dimension=8, create=True)
    log = store.documents("log")
    for number in range(1, count + 1):
        rows = np.random.default_rng(number).normal(size=(BATCH, 8))
        with store.transaction():
            store.upsert([f"{number}-{row}" for row in range(BATCH)], rows, [{"commit": number}] * BATCH)
            log["last"] = number
        sizes.append((path / f"{DATABASE}-wal").stat().st_size)
    return store, sizes


def after_power_loss(path, at, log):
    """The files as the disk would hold them: the database, and this much of the log."""
    shutil.rmtree(at, ignore_errors=True)
    at.mkdir()
    shutil.copyfile(path / DATABASE, at / DATABASE)
    (at / f"{DATABASE}-wal").write_bytes(log)
    return Store.open(at)


@pytest.fixture
def logged(path):
    store, sizes = commits_in_the_log(path, 12)
    yield path, sizes, (path / f"{DATABASE}-wal").read_bytes()
    store.close()


def test_log_cut_anywhere_leaves_whole_commits(logged, tmp_path):
    path, sizes, log = logged
    chance = random.Random(1)
    edges = [size + step for size in sizes[::3] for step in (-1, 0, 1, 24)]
    for cut in [0, 31, 32, *edges, *(chance.randrange(len(log)) for _ in range(12))]:
        with after_power_loss(path, tmp_path / "lost.anmok", log[:cut]) as store:
            number = store.documents("log").get("last", 0)
            assert number >= sum(size <= cut for size in sizes)  # what was synced before the cut is there
            require_state_after(store, number)
            assert store.check().problems == ()


def test_log_damaged_anywhere_leaves_whole_commits(logged, tmp_path):
    path, sizes, log = logged
    chance = random.Random(2)
    for trial in range(16):
        place = chance.randrange(len(log))
        damaged = bytearray(log)
        if trial % 2:
            damaged[place] ^= 1 << chance.randrange(8)
        else:  # a sector that never reached the disk
            place -= place % 512
            damaged[place : place + 512] = bytes(512)
        with after_power_loss(path, tmp_path / "lost.anmok", bytes(damaged)) as store:
            number = store.documents("log").get("last", 0)
            assert number >= sum(size <= place for size in sizes)
            require_state_after(store, number)
            assert store.check().problems == ()


COUNTED = """
import sys
from anmok.store import Store

with Store.open(sys.argv[1], dimension=2, create=True) as store:
    for number in range(10):
        store.upsert([str(number)], [[1, number]])
        sys.stdout.write("acknowledged\\n")
        sys.stdout.flush()
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_every_commit_is_synced_before_it_is_acknowledged(path, tmp_path):
    trace = tmp_path / "trace"
    command = [
        "strace",
        "-f",
        "-y",
        "-e",
        "trace=fsync,fdatasync,write,pwrite64",
        "-o",
        trace,
        sys.executable,
        "-c",
        COUNTED,
        path,
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(anmok.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "PTRACE" in done.stderr or "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    events = []
    for line in trace.read_text().splitlines():
        if re.search(r"\bf(data)?sync\(\d+<[^>]*store\.sqlite-wal>\)\s+= 0", line):
            events.append("sync")
        elif re.search(r"\bpwrite64\(\d+<[^>]*store\.sqlite-wal>", line):
            events.append("log")
        elif "acknowledged" in line:
            events.append("told")
    assert events.count("told") == 10
    assert events.count("log") >= 10
    unsynced = False
    for event in events:
        unsynced = {"log": True, "sync": False}.get(event, unsynced)
        assert not (event == "told" and unsynced), events
    assert events.count("sync") >= 10
