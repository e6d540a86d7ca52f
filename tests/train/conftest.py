"""Drawn pictures with captions, as a newcomer has them: a folder and a CSV."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest

from anmok.train.recipe import Recipe, with_options
from anmok.train.synthetic import draw_scene

if TYPE_CHECKING:
    from pathlib import Path


def write_pairs(folder: Path, count: int, *, seed: int = 0, side: int = 36) -> Path:
    """`pairs.csv` (filepath, title) and so many drawn pictures beside it."""
    (folder / "pictures").mkdir(parents=True)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["filepath", "title"])
        for i in range(count):
            drawn = draw_scene(np.random.default_rng((seed, i)))
            drawn.picture.resize((side, side)).save(folder / "pictures" / f"{i:04}.png")
            table.writerow([f"pictures/{i:04}.png", drawn.english[0]])
    return folder / "pairs.csv"


@pytest.fixture(scope="session")
def pairs_csv(tmp_path_factory):
    """120 drawn pictures and their captions."""
    return write_pairs(tmp_path_factory.mktemp("pairs"), 120)


@pytest.fixture
def small_recipe(pairs_csv, tiny_folder, tmp_path):
    """The tiny CLIP of tests/conftest.py goes on learning: a step takes a few hundredths of a second."""

    def make(output: str = "run", **options):
        small = {
            "data.train": [str(pairs_csv)], "data.separator": ",", "data.held_out": 0.2,
            "model.start": str(tiny_folder), "run.batch_size": 16, "run.steps": 8, "run.log_every": 1,
            "run.save_every": 4, "run.evaluate_every": 8, "run.precision": "fp32", "run.workers": 0,
            "optimizer.warmup": 2, "run.output": str(tmp_path / output),
        }  # fmt: skip
        return with_options(Recipe(), small | {key.replace("__", "."): value for key, value in options.items()})

    return make
