"""What the README and the docs show runs as they show it.

Python blocks of one page share a namespace; lines that start with `$ anmok` or `$ python -m anmok` in console
blocks run as processes. Both run in a folder with `photos/`, `photo.jpg` and `labels.csv`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.resources import as_file, files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [page for page in PAGES if not page.name.startswith("service-")]  # against a service: tests/serve
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    """A folder as the docs assume it: photos/, photo.jpg, labels.csv, photos.csv."""
    with as_file(files("anmok") / "data" / "demo") as shipped:
        shutil.copytree(shipped, tmp_path / "photos")
    shutil.copy(tmp_path / "photos" / "photo-cat.jpg", tmp_path / "photo.jpg")
    shutil.copy(tmp_path / "photos" / "labels.csv", tmp_path / "labels.csv")
    table = "filepath,label\nphotos/photo-cat.jpg,cat\nphotos/photo-rocket.jpg,rocket\n"
    (tmp_path / "photos.csv").write_text(table, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(code: str) -> list[str]:
    """The lines of a console block that run anmok, as words."""
    lines = [line.removeprefix("$ ") for line in code.splitlines() if re.match(r"\$ (anmok|python -m anmok) ", line)]
    return [re.sub(r"^(python -m )?anmok ", "", line) for line in lines]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda p: p.name)
def test_examples_run(page, workshop):
    """Top to bottom, as a reader goes: what one block makes, the next one finds."""
    namespace: dict[str, object] = {}
    for kind, code in blocks(page):
        if kind == "python":
            exec(compile(code, page.name, "exec"), namespace)
            continue
        for command in commands(code):
            run = subprocess.run(
                [sys.executable, "-m", "anmok", *shlex.split(command, comments=True)],
                capture_output=True, text=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}, check=False,
            )  # fmt: skip
            assert run.returncode == 0, f"{command}\n{run.stderr}"
