"""What several rooms' tests share: a tiny model with random weights, and a home that is thrown away."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from anmok.checkpoints import Checkpoint
from anmok.encoder import Encoder
from anmok.models.spec import DualSpec, TextSpec, VitSpec, weight_shapes
from anmok.pictures import Transform
from anmok.texts import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

os.environ["ANMOK_PRECISION"] = "fp32"  # also for what is loaded once for all tests: nothing is measured in between

TINY = DualSpec(
    image=VitSpec(
        image_size=32, patch_size=8, width=32, layers=2, heads=2, mlp_width=64, activation="quick_gelu",
        pool="cls", class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
    ),
    text=TextSpec(
        vocabulary=49408, context_length=77, width=16, layers=2, heads=2, mlp_width=32, activation="quick_gelu",
        causal=True, pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=49407, pad_token=49407,
    ),
    dimension=24,
    score="softmax",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path_factory.getbasetemp() / "anmok-home"))


@pytest.fixture(scope="session")
def tiny_checkpoint() -> Checkpoint:
    """A CLIP of two small layers per tower; random weights, OpenAI's tokenizer."""
    transform = Transform(
        size=(32, 32),
        resize="shortest",
        interpolation="bicubic",
        crop=True,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
        rounding="transformers",
    )
    return Checkpoint("tiny", TINY, weights_of(TINY), transform, Tokenizer.clip())


def weights_of(spec: DualSpec) -> dict[str, np.ndarray]:
    """Random, with norms around 1."""
    rng = np.random.default_rng(0)
    weights = {
        name: (
            1 + 0.1 * rng.normal(size=shape) if "norm" in name and "weight" in name else 0.1 * rng.normal(size=shape)
        )
        for name, shape in weight_shapes(spec).items()
    }
    weights["logit_scale"] = np.array(3.0)
    return {name: np.asarray(array, np.float32) for name, array in weights.items()}


@pytest.fixture(scope="session")
def wider_checkpoint(tiny_checkpoint) -> Checkpoint:
    """The same, 64 wide."""
    image = replace(TINY.image, width=64, mlp_width=128)
    text = replace(TINY.text, width=64, mlp_width=128)
    spec = replace(TINY, image=image, text=text, dimension=64)
    return replace(tiny_checkpoint, spec=spec, weights=weights_of(spec))


@pytest.fixture(scope="session")
def tiny_encoder(tiny_checkpoint) -> Encoder:
    """The tiny model, ready to encode."""
    return Encoder(tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_folder(tiny_checkpoint, tmp_path_factory):
    """The tiny model on disk, in the Hugging Face layout."""
    from anmok.checkpoints import save_checkpoint

    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_checkpoint(tiny_checkpoint, folder)
    return folder


@pytest.fixture(scope="session")
def torchvision():
    """torchvision, also where its compiled operators do not fit this torch; the references only want it imported.

    open_clip and transformers import it. Its wheel may be built for another torch, and then the import fails on
    operators that nothing here uses; declaring them is enough.
    """
    import torch

    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
    import torchvision

    return torchvision


def write_pairs(folder: Path, count: int, *, seed: int = 0, side: int = 36) -> Path:
    """`pairs.csv` (filepath, title) and so many drawn pictures beside it."""
    from anmok.train.synthetic import draw_scene

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
