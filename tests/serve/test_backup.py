"""`deploy/backup.sh` on a service that is written to; then everything is lost, put back, and asked for again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import httpx2 as httpx
import pytest

import anmok
from anmok.collections import Collection

from .serving import base64_of, picture, process, until

SCRIPT = Path(__file__).parents[2] / "deploy" / "backup.sh"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a shell script, with GNU tar")


def backup(home, target):
    """Run the script with the `anmok` of these tests."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", str(SCRIPT), str(home), str(target)]
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)


class Writer(threading.Thread):
    """A client that adds pictures and replaces its own until it is told to stop; `told`: ids that were acknowledged."""

    def __init__(self, url):
        super().__init__()
        self.url, self.told, self.enough = url, [], threading.Event()

    def run(self):
        with httpx.Client(base_url=self.url, timeout=30) as client:
            for number in range(10_000):
                if self.enough.is_set():
                    return
                rows = [{"id": f"new/{number}", "picture": base64_of(picture(number))}]
                rows += [{"id": "again", "picture": base64_of(picture(number + 50_000))}]
                assert client.put("/v1/collections/가게/pictures", json={"pictures": rows}).status_code == 200
                self.told.append(f"new/{number}")


def test_what_was_acknowledged_before_a_backup_is_there_after_a_restore(tmp_path, tiny_folder):
    home, target = tmp_path / "home", tmp_path / "backup"
    with process(home, tiny_folder) as service:
        with httpx.Client(base_url=service.url, timeout=30) as client:
            client.post("/v1/collections", json={"name": "가게"})
            client.post("/v1/labels", json={"name": "l", "labels": ["cat", "dog"], "templates": "none"})
            rows = [{"id": f"old/{i}", "picture": base64_of(picture(i)), "metadata": {"shelf": i}} for i in range(8)]
            assert client.put("/v1/collections/가게/pictures", json={"pictures": rows}).status_code == 200
        writer = Writer(service.url)
        writer.start()
        until(lambda: len(writer.told) >= 3 or not writer.is_alive(), 30)
        before = list(writer.told)
        done = backup(home, target)
        after = len(writer.told)
        writer.enough.set()
        writer.join()
        assert done.returncode == 0, done.stderr
        assert after > len(before), "nothing was written meanwhile"
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    shutil.rmtree(home)

    shutil.copytree(target, home)
    with tarfile.open(home / "uploads.tar") as uploads:
        uploads.extractall(home, filter="data")
    with process(home, tiny_folder) as service, httpx.Client(base_url=service.url, timeout=30) as client:
        listed = client.get("/v1/collections/가게/pictures", params={"top": 1000}).json()["pictures"]
        ids = {one["id"] for one in listed}
        assert {f"old/{i}" for i in range(8)} | set(before) <= ids
        for number in [f"old/{i}" for i in range(8)]:
            got = client.get("/v1/collections/가게/file", params={"id": number})
            assert got.content == picture(int(number.removeprefix("old/")))
        found = client.post("/v1/search", json={"collection": "가게", "picture": base64_of(picture(3)), "top": 1})
        assert found.json()["hits"][0]["id"] == "old/3" and found.json()["hits"][0]["metadata"]["shelf"] == 3
        assert client.get("/v1/labels/l").json()["total"] == 2
        service.signal(signal.SIGTERM)
        assert service.wait() == 0
    encoder = anmok.load(tiny_folder, precision="fp32")
    with Collection(home / "collections" / "가게.anmok", encoder=encoder) as collection:
        assert collection.check().problems == ()


def test_one_store_that_cannot_be_read_does_not_keep_the_others_from_being_copied(tmp_path, tiny_encoder):
    home, target = tmp_path / "home", tmp_path / "backup"
    for folder in ("collections", "labels", "recognisers", "uploads"):
        (home / folder).mkdir(parents=True)
    for name in ("a", "c"):
        Collection(home / "collections" / f"{name}.anmok", encoder=tiny_encoder).close()
    (home / "collections" / "b.anmok").mkdir()
    (home / "collections" / "b.anmok" / "store.sqlite").write_bytes(b"nonsense")
    (home / "keys.json").write_text("[]")
    done = backup(home, target)
    assert done.returncode == 1 and "b.anmok" in done.stderr
    copied = sorted(path.relative_to(target).as_posix() for path in target.glob("*/*"))
    assert copied == ["collections/a.anmok", "collections/c.anmok"]
    assert (target / "keys.json").read_text() == "[]" and target.stat().st_mode & 0o077 == 0


def test_a_backup_is_never_written_over(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "backup").mkdir()
    assert backup(tmp_path / "home", tmp_path / "backup").returncode not in (0, 1)
    assert backup(tmp_path / "home", "").returncode
    assert not any((tmp_path / "backup").iterdir())
