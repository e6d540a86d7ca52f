"""Rows on disk: the newest of a number of them, whole or not there, whoever writes and whatever happens."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.files import locked
from anmok.row_file import RowFile, capacity_of

SIZE = 40


def key(number):
    return number.to_bytes(16, "little")


def row(number):
    return bytes([number % 256]) * SIZE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(steps=st.lists(st.tuples(st.sampled_from("pgr"), st.integers(0, 12)), max_size=60), capacity=st.integers(1, 6))
def test_it_is_a_dict_that_forgets_the_oldest(tmp_path_factory, steps, capacity):
    path = tmp_path_factory.mktemp("rows") / "rows"
    files, model = [RowFile(path, SIZE, capacity) for _ in range(2)], {}
    for turn, (step, number) in enumerate(steps):
        file = files[turn % 2]  # two that take turns, as two processes would
        file.refresh()
        if step == "p":
            file.put([(key(number), row(number))])
            if number not in model:
                model[number] = row(number)
            if len(model) > capacity:
                del model[next(iter(model))]
        elif step == "g":
            assert file.get(key(number)) == model.get(number)
        else:
            file.close()
    fresh = RowFile(path, SIZE, capacity)
    fresh.refresh()
    assert {n: fresh.get(key(n)) for n in range(13) if fresh.get(key(n))} == model
    for file in (*files, fresh):
        file.close()
    if path.exists():
        assert path.stat().st_size <= 64 + capacity * (32 + SIZE)


def test_capacity_keeps_within_a_size(path):
    for size in (0, 63, 64, 200, 1000, 5000):
        capacity = capacity_of(size, SIZE)
        assert 64 + capacity * (32 + SIZE) <= max(size, 64)
        assert 64 + (capacity + 1) * (32 + SIZE) > size


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_whatever_is_damaged_no_wrong_row_comes_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("rows") / "rows"
    file = RowFile(path, SIZE, 4)
    file.put([(key(n), row(n)) for n in range(6)])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        for _ in range(data.draw(st.integers(1, 20))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    again = RowFile(path, SIZE, 4)
    for one in (file, again):  # one that had it open, one that opens it now
        one.refresh()
        assert all(one.get(key(n)) in (None, row(n)) for n in range(6))
        one.close()
    again.put([(key(n), row(n)) for n in range(20, 24)])
    fresh = RowFile(path, SIZE, 4)
    fresh.refresh()
    assert [fresh.get(key(n)) for n in range(20, 24)] == [row(n) for n in range(20, 24)]
    again.close()
    fresh.close()


def test_rows_of_another_size_are_begun_anew(path):
    file = RowFile(path, SIZE, 4)
    file.put([(key(1), row(1))])
    file.close()
    other = RowFile(path, SIZE + 1, 4)
    other.refresh()
    assert other.get(key(1)) is None
    other.put([(key(1), row(1) + b"x")])
    assert other.get(key(1)) == row(1) + b"x"
    other.close()


WRITER = """
import sys
from pathlib import Path
from anmok.files import locked
from anmok.row_file import RowFile
path, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
file = RowFile(path, 40, 400)
print("ready", flush=True)
for n in range(first, first + count):
    with locked(path.with_name("lock"), seconds=60) as held:
        assert held
        file.put([(n.to_bytes(16, "little"), bytes([n % 256]) * 40)])
"""


def writer(path, first, count):
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_write_at_once(path):
    for process in [writer(path, 0, 150), writer(path, 150, 150)]:
        assert process.wait(60) == 0
        process.stdout.close()
    file = RowFile(path, SIZE, 400)
    file.refresh()
    assert [file.get(key(n)) for n in range(300)] == [row(n) for n in range(300)]
    file.close()


def test_a_killed_process_leaves_whole_rows_and_no_lock(path):
    process = writer(path, 0, 1_000_000)
    while not path.exists() or path.stat().st_size < 64 + 400 * 32 + 50 * SIZE:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait(60)
    process.stdout.close()
    file = RowFile(path, SIZE, 400)
    file.refresh()
    with locked(path.with_name("lock"), seconds=5) as held:
        assert held
        file.put([(key(2_000_000), row(7))])
    assert file.get(key(2_000_000)) == row(7)
    assert len([n for n in range(1_000_000) if key(n) in file._place_of]) >= 49
    assert all(file.get(known) == row(int.from_bytes(known, "little")) for known in list(file._place_of)[:-1])
    file.close()


def test_a_lock_that_another_holds_is_waited_for_and_given_up(tmp_path):
    with locked(tmp_path / "lock", seconds=1) as first, locked(tmp_path / "lock", seconds=0.05) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path / "lock", seconds=0) as held:
        assert held
