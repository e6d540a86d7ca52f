import numpy as np
import pytest

import anmok
from anmok.checkpoints import save_checkpoint
from anmok.encoder import Encoder
from anmok.errors import CheckpointError
from anmok.models.sizes import SIZES
from anmok.train.data import open_data
from anmok.train.start import new_model

TINY = [name for name in SIZES if name.startswith("tiny")]


@pytest.fixture
def start(small_recipe, tmp_path):
    """`start(size, side)`: a new model for pictures of this side."""

    def make(size, side):
        options = {"model__start": "", "model__size": size, "model__image_size": side, "model__vocabulary": 400}
        recipe = small_recipe(**options)
        return new_model(recipe, open_data(recipe), tmp_path / "tokenizer")

    return make


@pytest.mark.parametrize(
    ("size", "side"), [(size, 96) for size in TINY] + [("tiny-vit", 42), ("tiny-resnet", 40), ("tiny-vgg", 70)]
)
def test_every_size_of_model_and_picture_can_be_saved_loaded_and_used(start, size, side, tmp_path):
    checkpoint = start(size, side)
    save_checkpoint(checkpoint, tmp_path / "model")
    loaded = anmok.load(tmp_path / "model", precision="fp32")
    picture = np.random.default_rng(0).integers(0, 255, (90, 80, 3), np.uint8)
    vectors = loaded.encode_image(picture).vectors
    assert vectors.shape == (1, checkpoint.spec.dimension)
    assert np.abs(vectors - Encoder(checkpoint, engine="torch").encode_image(picture).vectors).max() < 1e-4


@pytest.mark.parametrize(
    ("size", "side", "problem"),
    [
        ("tiny-resnet", 63, "do not fit a ResNet"),
        ("tiny-resnet", 20, "do not fit a ResNet"),
        ("tiny-vit", 7, "of 7 pixels"),
        ("tiny-hybrid", 70, "no whole number of patches"),
        ("tiny-alexnet", 40, "too small"),
    ],
)
def test_a_picture_that_the_tower_cannot_take_is_refused_before_training(start, size, side, problem):
    with pytest.raises(CheckpointError, match=problem):
        start(size, side)
