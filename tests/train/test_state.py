import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from anmok.train.state import (
    StateError,
    TrainingState,
    find_state,
    load_state,
    random_state,
    restore_random,
    save_state,
)


def test_a_state_comes_back_as_it_was(tmp_path):
    state = TrainingState(step=7, samples=70, seconds=1.5, best=[0.4, -1.0])
    path = save_state(tmp_path, state, {"model": {"w": torch.arange(3.0)}}, keep=2)
    again, arrays = load_state(path)
    assert again == state
    assert torch.equal(arrays["model"]["w"], torch.arange(3.0))


def test_only_the_newest_are_kept_and_latest_finds_them(tmp_path):
    assert find_state(tmp_path, "latest") is None
    for step in (5, 100, 20):
        save_state(tmp_path, TrainingState(step=step), {}, keep=2)
    (tmp_path / "step-00000999.12.unfinished").write_bytes(b"torn")
    save_state(tmp_path, TrainingState(step=200), {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000100.pt", "step-00000200.pt"]
    assert find_state(tmp_path, "latest").name == "step-00000200.pt"
    assert find_state(tmp_path, "step-00000100.pt").name == "step-00000100.pt"
    with pytest.raises(StateError, match=r"no saved state 'step-7.pt'.*step-00000100.pt, step-00000200.pt"):
        find_state(tmp_path, "step-7.pt")


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.99])
def test_a_torn_file_is_told_with_the_way_out(tmp_path, kept):
    path = save_state(tmp_path, TrainingState(step=1), {"w": torch.zeros(1000)}, keep=1)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept) if isinstance(kept, float) else kept])
    with pytest.raises(StateError, match=r"step-00000001.pt cannot be read .*--resume NAME"):
        load_state(path)


def test_nothing_but_tensors_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "owned"),)

    path = tmp_path / "step-00000001.pt"
    torch.save({"state": {}, "evil": Evil()}, path)
    with pytest.raises(StateError, match="cannot be read"):
        load_state(path)
    assert not (tmp_path / "owned").exists()


def test_random_numbers_go_on_where_they_were():
    torch.manual_seed(3)
    torch.rand(5)
    state = random_state()
    expected = torch.rand(4)
    torch.rand(9)
    restore_random(state)
    assert torch.equal(torch.rand(4), expected)


WRITER = """
import sys, torch
from pathlib import Path
from anmok.train.state import TrainingState, save_state
for step in range(1, 10_000):
    save_state(Path(sys.argv[1]), TrainingState(step=step), {"w": torch.full((50_000,), float(step))}, keep=2)
    print(step, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_writer_that_is_killed_leaves_the_newest_whole_state(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as writer:
        told = [int(writer.stdout.readline()) for _ in range(20)]
        time.sleep(0.01)
        writer.send_signal(signal.SIGKILL)
        told += [int(line) for line in writer.stdout if line.strip().isdigit()]
    state, arrays = load_state(find_state(tmp_path, "latest"))
    assert state.step in (told[-1], told[-1] + 1)
    assert (arrays["w"] == state.step).all()
