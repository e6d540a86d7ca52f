"""The shipped weights: open_clip's own class takes them, and they know what they were taught."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import anmok
from anmok.checkpoints import load_checkpoint
from anmok.models.modules import from_weights
from anmok.train.synthetic import draw_digit, draw_scene

FOLDER = Path(anmok.__file__).parent / "data" / "anmok-mini"


@pytest.fixture(scope="module")
def encoder():
    return anmok.load("anmok-mini")


def test_open_clip_loads_the_shipped_weights_and_embeds_the_same(torchvision):
    open_clip = pytest.importorskip("open_clip.model")
    from safetensors.torch import load_file

    config = json.loads((FOLDER / "open_clip_config.json").read_text(encoding="utf-8"))
    assert config["model_cfg"].pop("custom_text")
    theirs = open_clip.CustomTextCLIP(**config["model_cfg"]).eval()
    theirs.load_state_dict(load_file(FOLDER / "open_clip_model.safetensors"), strict=True)
    checkpoint = load_checkpoint("anmok-mini")
    ours = from_weights(checkpoint.spec, checkpoint.weights)
    pixels = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    ids = torch.from_numpy(checkpoint.tokenizer(["a photo of a dress", "빨간 원 세 개"], trim=False))
    with torch.no_grad():
        assert (ours.encode_image(pixels) - theirs.encode_image(pixels)).abs().max() < 1e-4
        assert (ours.encode_text(ids) - theirs.encode_text(ids)).abs().max() < 1e-4


@pytest.mark.parametrize("label", ["the digit {}", "숫자 {}"])
def test_it_knows_drawn_digits(encoder, label):
    drawn = [draw_digit(np.random.default_rng(90_000 + i), i % 10) for i in range(40)]
    scores = encoder.encode_image([one.picture for one in drawn]) @ encoder.encode_text(
        [label.format(i) for i in range(10)]
    )
    assert (scores.argmax(axis=1) == np.arange(40) % 10).mean() > 0.8


def test_it_knows_colored_shapes(encoder):
    drawn = [draw_scene(np.random.default_rng(90_000 + i)) for i in range(40)]
    scores = encoder.encode_image([one.picture for one in drawn]) @ encoder.encode_text(
        [one.english[0] for one in drawn]
    )
    assert (scores.argmax(axis=1) == np.arange(40)).mean() > 0.6


def test_it_is_small_enough_to_ship():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 32e6
