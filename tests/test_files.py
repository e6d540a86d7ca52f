import errno

import pytest

from anmok.files import disk_full, write_whole


def test_file_is_written_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "new" / "file.txt"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_whole(path, b"three")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_lasting_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("anmok.files.sync_file", lambda path: done.append(("file", path.read_bytes())))
    monkeypatch.setattr("anmok.files.sync_folder", lambda path: done.append(("folder", (path / "f").read_bytes())))
    write_whole(tmp_path / "f", b"content", lasting=True)
    assert done == [("file", b"content"), ("folder", b"content")]


def test_a_full_disk_is_told_from_other_ends():
    assert disk_full(OSError(errno.ENOSPC, "no room")) and disk_full(OSError(errno.EDQUOT, "no room"))
    assert not disk_full(OSError(errno.EACCES, "no right")) and not disk_full(ValueError("no room"))
