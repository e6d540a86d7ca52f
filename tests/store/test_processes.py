"""Several processes on one store: one writes at a time, readers see what was committed."""

import numpy as np
import pytest

from anmok.errors import StoreBusy
from anmok.store import StoreLimits

OBEDIENT = """
import sys
import numpy as np
from anmok.store import Store, StoreLimits

store = Store.open(sys.argv[1], limits=StoreLimits(exact_rows=100, block_rows=32))
print("open", flush=True)
for line in sys.stdin:
    word, first, count = line.split()
    rows = np.random.default_rng(int(first)).normal(size=(int(count), 8))
    keys = [f"c{int(first) + row}" for row in range(int(count))]
    if word == "hold":
        with store.transaction():
            store.upsert(keys, rows)
            print("held", flush=True)
            sys.stdin.readline()
        print("done", flush=True)
    else:
        store.upsert(keys, rows, [{"batch": int(first)}] * int(count))
        print("done", flush=True)
"""

BUSY = """
import sys
import numpy as np
from anmok.store import Store, StoreLimits

with Store.open(sys.argv[1], limits=StoreLimits(exact_rows=100, block_rows=32, busy_timeout_s=60)) as store:
    for batch in range(25):
        rows = np.random.default_rng(batch).normal(size=(5, 8))
        with store.transaction():
            store.upsert([f"{sys.argv[2]}-{batch}-{row}" for row in range(5)], rows, [{"batch": batch}] * 5)
            counts = store.documents("counts")
            counts["total"] = counts.get("total", 0) + 5
"""


@pytest.fixture
def writer(store, child, path):
    """`writer("write 0 5")` has another process write; it is ready when the call returns."""
    process = child(OBEDIENT, path)
    assert process.stdout.readline() == "open\n"

    def tell(line, answer="done"):
        print(line, file=process.stdin, flush=True)
        if answer:
            assert process.stdout.readline() == f"{answer}\n"

    return tell


def test_reader_sees_what_another_process_committed(opened, store, writer, fill):
    rows = fill(store, 50)
    reader = opened(readonly=True)
    assert reader.search(rows[:1], 1)[0][0].key == "k0"
    for first, count in ((1000, 5), (2000, 5), (3000, 150)):  # the last one makes the writer build an index
        before = reader.generation
        writer(f"write {first} {count}")
        row = np.random.default_rng(first).normal(size=(count, 8))[2:3]
        for one in (reader, store):
            assert one.search(row, 1)[0][0].key == f"c{first + 2}"
            assert one.search(row, 1)[0][0].score == pytest.approx(1, abs=1e-5)
        assert reader.generation == before + 1
    assert len(reader) == 210
    store.delete(["k0"])
    assert reader.search(rows[:1], 1)[0][0].key != "k0"


def test_reader_sees_nothing_of_an_open_transaction(opened, store, writer):
    reader = opened(readonly=True)
    writer("hold 0 5", "held")
    assert len(reader) == 0
    assert reader.search(np.ones((1, 8)), 1) == [[]]
    writer("release")
    assert len(reader) == 5


def test_second_writer_is_told_that_another_one_writes(store, writer, vectors):
    writer("hold 0 5", "held")
    with pytest.raises(StoreBusy, match=r"another process is writing .*Try again .*busy_timeout_s"):
        store.upsert(["mine"], vectors(1))
    with pytest.raises(StoreBusy):
        store.documents("files")["a"] = 1
    writer("release")
    store.upsert(["mine"], vectors(1))
    assert len(store) == 6


def test_second_writer_waits(opened, store, writer, vectors):
    patient = opened(limits=StoreLimits(busy_timeout_s=60))
    writer("hold 0 5", "held")
    writer("release", answer=None)
    patient.upsert(["mine"], vectors(1))
    assert "mine" in patient


def test_writers_and_readers_at_once(opened, store, child, path):
    writers = [child(BUSY, path, name) for name in "ab"]
    reader = opened(readonly=True)
    seen = 0
    while any(process.poll() is None for process in writers):
        keys = reader.keys()
        assert len(keys) % 5 == 0
        assert len(keys) >= seen  # what was seen once stays
        seen = len(keys)
        found = reader.search(np.ones((1, 8)), 7)[0]
        assert len(found) >= min(7, seen)
    assert [process.returncode for process in writers] == [0, 0]
    assert len(reader) == 250
    assert reader.documents("counts")["total"] == 250
    assert store.recall(np.random.default_rng(1).normal(size=(20, 8)), 5) > 0.9
    assert store.check().problems == ()


def test_backup_while_another_process_writes(opened, store, child, path):
    process = child(BUSY, path, "a")
    number = 0
    while process.poll() is None or number == 0:
        at = path.with_name(f"backup{number}.anmok")
        store.backup(at)
        copy = opened(at)
        assert copy.check().problems == ()
        assert copy.documents("counts").get("total", 0) == len(copy)
        copy.close()
        number += 1
    assert process.returncode == 0
    assert len(store) == 125
