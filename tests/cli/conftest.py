"""The command line in this process: arguments in, exit status, stdout and stderr out."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from anmok.cli import main


@dataclass
class Run:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def anmok(monkeypatch, capsys):
    def run(*arguments: object) -> Run:
        monkeypatch.setattr(sys, "argv", ["anmok", *map(str, arguments)])
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return Run(status, captured.out, captured.err)

    return run


@pytest.fixture
def photos(tmp_path):
    """Three pictures in two folders, one of them with a Korean name, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "bags").mkdir(parents=True)
    for seed, name in enumerate(["one.png", "bags/빨간 가방.png", "bags/two.png"]):
        pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "bad.jpg").write_bytes(b"not a picture")
    return folder
