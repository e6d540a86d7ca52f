"""A disk that fills up: what was told is there, the rest is refused with the reason, and it goes on with new room."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from contextlib import suppress

import httpx2 as httpx
import pytest

from anmok.errors import StoreFull
from anmok.serve.routes import pictures as routes

from .serving import base64_of, picture, process

DISK = "8m"


@pytest.fixture
def small_disk(tmp_path):
    """A folder with a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a disk of its own can be made here only by root, on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def large(seed):
    """A picture that no compression makes small, of about half a megabyte."""
    return picture(seed, side=420, kind="BMP")


def test_a_disk_that_fills_up_and_is_emptied(small_disk, tiny_folder):
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (3 << 20))
    with process(small_disk / "home", f"tiny={tiny_folder}") as service, httpx.Client(base_url=service.url) as api:
        assert api.post("/v1/collections", json={"name": "shop"}).status_code == 201
        told, refused = [], []
        for number in range(24):
            name = f"{number}.bmp"
            files = [("pictures", (name, large(number), "image/bmp"))]
            answer = api.post("/v1/collections/shop/pictures", files=files, timeout=60)
            (told if answer.status_code == 200 else refused).append(name)
            if answer.status_code != 200:
                assert answer.status_code == 507, answer.text
                assert answer.json()["error"]["code"] == "disk_full"
                assert "disk is full" in answer.json()["error"]["message"] and str(small_disk) not in answer.text
        assert len(told) > 1 and len(refused) > 1

        def listed():
            found = api.get("/v1/collections/shop/pictures", params={"top": 100}).json()["pictures"]
            return sorted(one["id"] for one in found)

        assert listed() == sorted(told)
        for name in told:
            shown = api.get("/v1/collections/shop/file", params={"id": name})
            assert shown.content == large(int(name.split(".")[0]))
        search = {"collection": "shop", "terms": [{"picture": base64_of(large(0))}], "top": 1}
        assert api.post("/v1/search", json=search).json()["hits"][0]["id"] == "0.bmp"  # reading needs no room
        assert api.get("/readyz").status_code == 200
        with suppress(OSError), (small_disk / "rest").open("wb", buffering=0) as rest:
            while True:
                rest.write(b"x" * 4096)
        assert shutil.disk_usage(small_disk).free == 0
        assert api.post("/v1/search", json=search).json()["hits"][0]["id"] == "0.bmp"
        assert api.post("/v1/collections", json={"name": "other"}).status_code == 507
        assert api.post("/v1/collections/shop/pictures/delete", json={"ids": told[-1:]}).status_code == 507
        assert listed() == sorted(told)

        ballast.unlink()
        for name in refused[:3]:
            files = [("pictures", (name, large(int(name.split(".")[0])), "image/bmp"))]
            assert api.post("/v1/collections/shop/pictures", files=files).json()["added"] == 1
        assert api.post("/v1/collections/shop/pictures/delete", json={"ids": told[-1:]}).json() == {"deleted": 1}
        assert listed() == sorted(told[:-1] + refused[:3])
        assert api.post("/v1/collections", json={"name": "other"}).status_code == 201
        uploads = small_disk / "home" / "uploads" / "shop"
        assert sorted(one.name for one in uploads.iterdir() if one.is_file()) == listed()


@pytest.mark.parametrize(
    "full",
    [OSError(errno.ENOSPC, "no room", "/srv/secret"), OSError(errno.EDQUOT, "no room"), StoreFull("/srv/secret")],
    ids=["disk", "quota", "store"],
)
def test_it_is_told_so(serve, monkeypatch, full):
    def fails(*_, **__):
        raise full

    served = serve()
    with httpx.Client(base_url=served.address) as api:
        assert api.post("/v1/collections", json={"name": "shop"}).status_code == 201
        body = {"pictures": [{"picture": base64_of(picture()), "id": "a.png"}]}
        with monkeypatch.context() as patch:
            patch.setattr(routes, "write_whole", fails)
            answer = api.post("/v1/collections/shop/pictures", json=body)
        assert answer.status_code == 507 and "secret" not in answer.text
        assert answer.json()["error"]["type"] == "server_error"
        assert 'anmok_errors_total{code="disk_full"} 1' in api.get("/metrics").text
        assert api.get("/v1/collections/shop/pictures").json()["total"] == 0
        assert api.post("/v1/collections/shop/pictures", json=body).json()["added"] == 1


def test_a_job_says_so(open_jobs, until):
    def fills(arguments, job):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/srv/secret")

    jobs = open_jobs(fills=fills)
    error = until(jobs, jobs.submit("fills", {}).id).error
    assert error.startswith("the disk is full") and "secret" not in error
