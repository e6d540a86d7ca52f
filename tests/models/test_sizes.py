import importlib.util
import json
import math
from pathlib import Path

import pytest

from anmok.checkpoints import load_checkpoint
from anmok.models.sizes import SIZES
from anmok.models.spec import BagSpec, ResNetSpec, weight_shapes

# Parameters as OpenAI's CLIP prints them and as open_clip's model profile lists them (millions).
PUBLISHED_MILLIONS = {
    "ViT-B-32-quickgelu": 151.277313,
    "ViT-B-16-quickgelu": 149.620737,
    "ViT-L-14-quickgelu": 427.616513,
    "ViT-L-14-336-quickgelu": 427.944193,
    "ViT-B-32": 151.28,
    "ViT-B-16": 149.62,
    "ViT-L-14": 427.62,
    "ViT-L-14-336": 427.94,
    "ViT-H-14": 986.11,
    "RN50-quickgelu": 102.007137,
    "RN101-quickgelu": 119.688033,
    "RN50x4-quickgelu": 178.300601,
    "RN50x16-quickgelu": 290.979217,
    "RN50x64-quickgelu": 623.258305,
    "ViT-B-16-SigLIP": 203.16,
    "ViT-B-16-SigLIP-256": 203.2,
    "ViT-B-16-SigLIP-384": 203.45,
    "ViT-B-16-SigLIP-512": 203.79,
    "ViT-B-16-SigLIP-i18n-256": 370.63,
    "ViT-L-16-SigLIP-256": 652.15,
    "ViT-L-16-SigLIP-384": 652.48,
    "ViT-SO400M-14-SigLIP": 877.36,
    "ViT-SO400M-14-SigLIP-384": 877.96,
    "ViT-B-32-SigLIP2-256": 376.86,
    "ViT-B-16-SigLIP2": 375.19,
    "ViT-B-16-SigLIP2-256": 375.23,
    "ViT-L-16-SigLIP2-256": 881.53,
    "ViT-SO400M-14-SigLIP2": 1135.46,
    "ViT-SO400M-16-SigLIP2-256": 1135.67,
    "ViT-gopt-16-SigLIP2-256": 1871.39,
}


PUBLISHED = [name for name in SIZES if not name.startswith("tiny-")]
TINY = [name for name in SIZES if name.startswith("tiny-")]


def test_the_named_sizes_are_there():
    assert set(PUBLISHED_MILLIONS) < set(SIZES)
    assert {"ViT-B-16-SigLIP2-NaFlex", "ViT-SO400M-16-SigLIP2-NaFlex"} < set(SIZES)
    assert {f"tiny-{kind}" for kind in ("vit", "hybrid", "resnet18", "efficientnet", "vgg", "alexnet")} < set(TINY)


@pytest.mark.parametrize("name", SIZES)
def test_every_size_has_sensible_shapes(name):
    spec = SIZES[name]
    for shape in weight_shapes(spec).values():
        assert all(side > 0 for side in shape)
    assert spec.text.eos_token < spec.text.vocabulary
    assert spec.text.pad_token < spec.text.vocabulary
    assert (spec.score == "sigmoid") == ("SigLIP" in name)
    assert ("SigLIP2" in name) == (spec.text.vocabulary == 256_000)
    assert isinstance(spec.image, ResNetSpec) == (name.startswith("RN") or name in ("tiny-resnet", "tiny-resnet-bag"))
    assert getattr(spec.image, "naflex", False) == name.endswith("NaFlex")


@pytest.mark.parametrize("name", TINY)
def test_small_sizes_stay_small(name):
    spec = SIZES[name]
    shapes = weight_shapes(spec)
    millions = sum(math.prod(shape) for key, shape in shapes.items() if key.startswith("image.")) / 1e6
    assert 2 <= millions <= 6
    assert 64 <= spec.image.image_size <= 96
    assert (spec.dimension, spec.text.vocabulary, spec.text.context_length, spec.text.width) == (256, 8192, 32, 256)
    assert isinstance(spec.text, BagSpec) == name.endswith("-bag")


def test_the_small_resnet_is_that_of_the_shipped_model():
    assert SIZES["tiny-resnet"].image == load_checkpoint("anmok-mini").spec.image


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_parameters_are_as_published(name):
    parameters = sum(math.prod(shape) for key, shape in weight_shapes(SIZES[name]).items() if ".running_" not in key)
    published = PUBLISHED_MILLIONS[name]
    digits = len(str(published).partition(".")[2])
    assert round(parameters / 1e6, max(digits, 2)) == published


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_agree_with_open_clips_configuration(name):
    package = importlib.util.find_spec("open_clip")  # finds it without importing it
    file = Path(package.submodule_search_locations[0]) / "model_configs" / f"{name}.json"
    if "NaFlex" in name:
        assert not file.exists()  # if open_clip has it one day, compare it below
        return
    theirs, ours = json.loads(file.read_text()), SIZES[name]
    image, text = theirs["vision_cfg"], theirs["text_cfg"]
    assert theirs["embed_dim"] == ours.dimension
    assert image["image_size"] == ours.image.image_size
    assert [text[key] for key in ("context_length", "vocab_size", "width", "heads", "layers")] == [
        getattr(ours.text, key) for key in ("context_length", "vocabulary", "width", "heads", "layers")
    ]
    if "timm_model_name" in image:  # SigLIP's picture towers are described in timm
        assert f"patch{ours.image.patch_size}_" in image["timm_model_name"]
        assert int(text.get("mlp_ratio", 4) * text["width"]) == ours.text.mlp_width
        return
    assert image["width"] == ours.image.width
    assert image["layers"] == (list(ours.image.layers) if isinstance(ours.image, ResNetSpec) else ours.image.layers)
    assert image["patch_size"] == (None if isinstance(ours.image, ResNetSpec) else ours.image.patch_size)
    assert theirs.get("quick_gelu", False) == (ours.text.activation == "quick_gelu")
