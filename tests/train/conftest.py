"""A recipe that trains in a second or two."""

from __future__ import annotations

import pytest

from anmok.train.recipe import Recipe, with_options


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
