"""What the README and the docs show runs as they show it.

Python blocks of one page share a namespace; lines that start with `$ anmok` or `$ python -m anmok` in console
blocks run in a shell. Both run in a folder with `photos/`, `photo.jpg` and `labels.csv`.
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


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(kind == "python" for kind, _ in blocks(page))], ids=lambda p: p.name
)
def test_python_examples_run(page, workshop):
    namespace: dict[str, object] = {}
    for kind, code in blocks(page):
        if kind == "python":
            exec(compile(code, f"{page.name}", "exec"), namespace)


def commands(page: Path) -> list[str]:
    lines = [line for kind, code in blocks(page) if kind == "console" for line in code.splitlines()]
    return [line.removeprefix("$ ") for line in lines if re.match(r"\$ (anmok|python -m anmok) ", line)]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda p: p.name)
def test_commands_run(page, workshop):
    for command in commands(page):
        words = shlex.split(re.sub(r"^(python -m )?anmok ", "", command), comments=True)
        run = subprocess.run(
            [sys.executable, "-m", "anmok", *words], capture_output=True, text=True, encoding="utf-8",
            env={**os.environ, "PYTHONUTF8": "1"}, check=False,
        )  # fmt: skip
        assert run.returncode == 0, f"{command}\n{run.stderr}"
