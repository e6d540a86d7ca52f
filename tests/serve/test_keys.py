"""Keys: what is kept of them, who can read it, and several processes that change them at once."""

import hmac
import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from anmok.errors import SettingsError
from anmok.files import locked
from anmok.serve import keys as room
from anmok.serve.keys import Keys

ADDER = """
import sys
from pathlib import Path
from anmok.serve.keys import Keys
keys = Keys(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    print(keys.add(f"{sys.argv[2]}-{number}")[0])
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "home" / "keys.json"


def test_the_file_never_holds_a_key_and_only_its_owner_may_read_it_at_any_moment(file, monkeypatch):
    modes = set()
    write = type(file).write_bytes

    def spied(path, content):
        written = write(path, content)
        modes.add(stat.S_IMODE(path.stat().st_mode))
        return written

    monkeypatch.setattr(type(file), "write_bytes", spied)
    before = os.umask(0)
    try:
        made = [Keys(file).add(name, ("read", "write"))[0] for name in ("phone", "가게")]
    finally:
        os.umask(before)
    content = file.read_text(encoding="utf-8")
    for token in made:
        _, number, secret = token.split("_", 2)
        assert number in content and secret not in content and len(secret) >= 43
    assert modes == {0o600} and stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_home_of_a_service_is_for_its_owner_alone(tmp_path):
    for number, command in enumerate((["keys", "add", "x"], ["keys", "list"])):
        home = tmp_path / str(number)
        subprocess.run([sys.executable, "-m", "anmok", "serve", *command, "--home", str(home)], check=True)
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_secrets_are_compared_in_constant_time_also_where_there_is_no_such_key(file, monkeypatch):
    keys = Keys(file)
    token, _ = keys.add("phone")
    compared = []

    def spied(first, second):
        compared.append((first, second))
        return hmac.compare_digest(first, second)

    monkeypatch.setattr(room, "compare_digest", spied)
    for given in (token, f"{token}x", "anmok_000000000000_x", "nonsense", "", "anmok", "anmok__"):
        assert (keys.find(given) is not None) == (given == token)
    assert len(compared) == 7
    assert all(len(first) == len(second) == 64 for first, second in compared)


@pytest.mark.parametrize(
    "given", ["키", "anmok_키_밀", "\ud800", "anmok_\udcff_x", "a" * 100_000, "anmok_" + "_" * 9999, "\x00"]
)
def test_nothing_that_can_be_given_breaks_the_comparison(file, given):
    keys = Keys(file)
    keys.add("phone")
    assert keys.find(given) is None


def test_the_secret_of_one_id_does_not_open_another(file):
    keys = Keys(file)
    first, second = (keys.add(name)[0].split("_", 2) for name in ("first", "second"))
    assert keys.find("_".join((first[0], first[1], second[2]))) is None
    assert keys.find("_".join(first)).name == "first"


def test_processes_that_add_keys_at_once_lose_none(file):
    command = [sys.executable, "-c", ADDER, str(file)]
    adders = [subprocess.Popen([*command, name, "12"], stdout=subprocess.PIPE, text=True) for name in "abc"]
    made = [line for adder in adders for line in adder.communicate(timeout=60)[0].split()]
    keys = Keys(file)
    assert len(made) == 36 and all(keys.find(token) is not None for token in made)
    assert len({key.id for key in keys.all()}) == 36


def test_who_cannot_have_the_file_to_himself_changes_nothing(file, monkeypatch):
    keys = Keys(file)
    keys.add("phone")
    before = file.read_bytes()
    monkeypatch.setattr(room, "PATIENCE", 0.05)
    with locked(file.with_suffix(".lock"), seconds=1):
        for change in (lambda: keys.add("x"), lambda: keys.remove("phone")):
            with pytest.raises(SettingsError, match="try again"):
                change()
    assert file.read_bytes() == before


def test_a_change_is_seen_also_within_one_tick_of_the_clock_and_of_one_length(file):
    running, owner = Keys(file), Keys(file)
    token, _ = owner.add("aaaa")
    assert running.find(token) is not None
    status = file.stat()
    owner.remove("aaaa")
    other, _ = owner.add("bbbb")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_size == status.st_size
    assert running.find(token) is None and running.find(other) is not None
    file.unlink()
    assert running.find(other) is None


def test_keys_are_read_while_they_are_written(file):
    keys = Keys(file)
    token, _ = keys.add("kept")
    wrong, done = [], threading.Event()

    def read():
        while not done.is_set():
            if keys.find(token) is None:
                wrong.append(token)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(20):
        Keys(file).add(str(number))
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong and len(json.loads(file.read_text())) == 21
