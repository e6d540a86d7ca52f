"""What the pages about the service show in Python runs against a service, as they show it."""

from __future__ import annotations

import re
import shutil
from importlib.resources import as_file, files
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("service-*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = "http://127.0.0.1:8000"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page, serve, tmp_path, monkeypatch):
    """Top to bottom, as a reader goes: what one block makes, the next one finds."""
    served = serve(models=("anmok-mini",))
    with as_file(files("anmok") / "data" / "demo") as shipped:
        shutil.copy(shipped / "photo-cat.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for code in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(code.replace(SHOWN, served.address), page.name, "exec"), namespace)
    client = namespace.get("client")
    if client is not None:
        client.close()
