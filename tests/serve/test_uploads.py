"""Files of uploads stay in step with their rows, wherever a change of both is cut short."""

import os
import signal
import subprocess
import sys

import pytest

from anmok.collections import Collection
from anmok.collections.folder import content_hash
from anmok.files import write_whole
from anmok.serve.names import upload_file
from anmok.serve.uploads import delete_empty_folders, kept_in_step, take_back, taken_by_another

from .serving import picture

IDS = ("a", "bags/1", "bags/2", "가게/빨강 1.jpg")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "uploads"


@pytest.fixture
def collection(tmp_path, tiny_encoder):
    with Collection(tmp_path / "c.anmok", encoder=tiny_encoder) as opened:
        yield opened


def files_of(folder, ids=IDS):
    return {number: upload_file(folder, number) for number in ids}


def write(collection, folder, seed, ids=IDS, *, rows=True):
    files = files_of(folder, ids)
    with kept_in_step(folder, files, collection):
        for place, file in enumerate(files.values()):
            write_whole(file, picture(seed + place))
        if not rows:
            raise RuntimeError("cut short")
        collection.upsert(list(files.values()), keys=list(files), metadata=[{}] * len(files))


def in_step(collection, folder, ids=IDS):
    """Each row has the file that it is of; no file is without a row; nothing else is left."""
    rows = dict(zip(ids, collection.get(list(ids)), strict=True))
    for number, file in files_of(folder, ids).items():
        assert file.is_file() == (rows[number] is not None), number
        if rows[number] is not None:
            assert content_hash(file.read_bytes()) == rows[number].metadata["hash"]
    kept = {file for file in folder.rglob("*") if file.is_file()}
    return kept <= set(files_of(folder, ids).values()) and not list(folder.glob(".*"))


def test_what_fails_leaves_everything_as_it_was(collection, folder):
    with pytest.raises(RuntimeError):
        write(collection, folder, 0, rows=False)
    assert in_step(collection, folder) and not len(collection) and not any(folder.iterdir())
    write(collection, folder, 10, IDS[:2])
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}
    with pytest.raises(RuntimeError):
        write(collection, folder, 20, rows=False)
    assert {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in before} == before
    assert in_step(collection, folder)


def test_what_a_kill_left_is_put_right_by_whoever_opens_it_next(collection, folder, tmp_path):
    script = """
import os, sys
from pathlib import Path
import anmok
from anmok.collections import Collection
from anmok.files import write_whole
from anmok.serve.uploads import kept_in_step
folder, at = Path(sys.argv[1]), sys.argv[2]
files = {number: folder / number for number in ("a", "b")}
class Rows:
    def get(self, keys):
        return [None] * len(keys)
with kept_in_step(folder, files, Rows()):
    for number, file in files.items():
        write_whole(file, b"new")
        (folder / f".{number}.0123.tmp").write_bytes(b"half")
        if at == "first":
            os.kill(os.getpid(), 9)
    os.kill(os.getpid(), 9)
"""
    for at in ("first", "last"):
        write(collection, folder, 30, ("a",))
        command = [sys.executable, "-c", script, str(folder), at]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert (folder / "a").read_bytes() == b"new"
        take_back(folder, collection)
        assert in_step(collection, folder, ("a", "b")) and (folder / "a").read_bytes() == picture(30)
        collection.delete(["a"])
        (folder / "a").unlink()


def test_a_change_whose_rows_were_written_is_kept_though_its_note_was_not_taken_away(collection, folder):
    write(collection, folder, 0, ("a",))
    files = files_of(folder, ("a",))
    change = kept_in_step(folder, files, collection)
    change.__enter__()
    write_whole(files["a"], picture(1))
    collection.upsert(list(files.values()), keys=["a"], metadata=[{}])
    take_back(folder, collection)  # as after a kill
    assert files["a"].read_bytes() == picture(1) and in_step(collection, folder, ("a",))
    files["a"].unlink()
    collection.delete(["a"])
    change.gen.close()


def test_a_file_system_without_links_is_as_good(collection, folder, monkeypatch):
    def none(*_):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", none)
    write(collection, folder, 0)
    with pytest.raises(RuntimeError):
        write(collection, folder, 5, rows=False)
    assert in_step(collection, folder) and (folder / "a").read_bytes() == picture(0)


def test_one_name_cannot_be_a_picture_and_a_folder(folder):
    folder.mkdir()
    (folder / "x").write_bytes(b"")
    (folder / "y").mkdir()
    assert taken_by_another(folder, folder / "x" / "z", set()) and taken_by_another(folder, folder / "y", set())
    assert not taken_by_another(folder, folder / "x", set()) and not taken_by_another(folder, folder / "y" / "z", set())
    assert taken_by_another(folder, folder / "n" / "o", {folder / "n"})
    assert taken_by_another(folder, folder / "n", {folder / "n" / "o"})
    (folder / "y" / "deep").mkdir()
    delete_empty_folders(folder, folder / "y" / "deep" / "gone")
    assert folder.is_dir() and not (folder / "y").exists() and (folder / "x").exists()
