"""A service with a root that holds traps, and a new collection for each test."""

from __future__ import annotations

import os

import httpx2 as httpx
import pytest

from ..serving import picture


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder of pictures, links that lead out of it, and names that are no text."""
    folder = tmp_path_factory.mktemp("roots") / "photos"
    (folder / "bags").mkdir(parents=True)
    for seed in range(3):
        (folder / "bags" / f"{seed}.png").write_bytes(picture(seed))
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(picture(99))
    (folder / "bags" / "link.png").symlink_to(outside / "secret.png")
    (folder / "bags" / "loop").symlink_to(folder / "bags" / "loop")
    (folder / "away").symlink_to(outside)
    (folder / "photos-evil").mkdir()
    (folder.parent / "photos-evil").mkdir()
    os.mkdir(os.fsencode(folder) + b"/\xff")  # noqa: PTH102
    (folder / os.fsdecode(b"\xff") / os.fsdecode(b"\xfe.png")).write_bytes(picture(50))
    return folder


@pytest.fixture(scope="module")
def served(serve, root):
    return serve(roots=(root,), pictures=16)


@pytest.fixture
def api(served):
    with httpx.Client(base_url=served.address, timeout=60) as client:
        yield client


@pytest.fixture
def shop(api, request):
    """A new collection, by its path."""
    name = request.node.name[:40].replace("[", "-").replace("]", "")
    assert api.post("/v1/collections", json={"name": name}).status_code == 201
    yield f"/v1/collections/{name}"
    api.delete(f"/v1/collections/{name}")
