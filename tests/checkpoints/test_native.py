"""anmok's own layout: every model comes back, and what is wrong in a folder is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.errors import CheckpointError, MissingFile, WeightsMismatch
from anmok.models.spec import BagSpec, CnnSpec, HybridSpec, weight_shapes
from anmok.pictures import Transform
from anmok.runtime import open_towers

from .conftest import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = {
    "cnn": CnnSpec("efficientnet", 32, (1, 1, 1, 1, 1, 1, 1), width=0.125),
    "hybrid": HybridSpec(
        image_size=32, stem=(8, 16, 24), width=32, layers=1, heads=2, mlp_width=48, activation="gelu", pool="mean",
        norm_eps=1e-5,
    ),
}  # fmt: skip
LAYOUTS = [
    "clip_folder", "siglip_folder", "siglip2_folder", "naflex_folder", "open_clip_folder", "resnet_folder",
    "timm_folder",
]  # fmt: skip


def make(tiny: Checkpoint, *, image=None, bag: bool = False) -> Checkpoint:
    """The tiny checkpoint with another tower, and random weights for it."""
    spec = tiny.spec if image is None else replace(tiny.spec, image=image)
    if bag:
        text = spec.text
        words = BagSpec(text.vocabulary, text.context_length, 16, 1e-5, True, text.eos_token, text.pad_token)
        spec = replace(spec, text=words)
    random = np.random.default_rng(0)
    weights = {
        name: np.abs(random.normal(size=shape)).astype(np.float32) + np.float32(0.1)
        for name, shape in weight_shapes(spec).items()
    }
    return replace(tiny, spec=spec, weights=weights)


@pytest.fixture(params=["cnn", "hybrid", "bag"])
def checkpoint(request, tiny_checkpoint) -> Checkpoint:
    return make(tiny_checkpoint, image=IMAGES.get(request.param), bag=request.param == "bag")


@pytest.fixture
def folder(tiny_checkpoint, tmp_path) -> Path:
    """A folder to damage."""
    save_checkpoint(make(tiny_checkpoint, image=IMAGES["cnn"]), tmp_path / "model")
    return tmp_path / "model"


def change(folder: Path, edit) -> None:
    file = folder / "anmok_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    edit(config)
    file.write_text(json.dumps(config), encoding="utf-8")


def test_what_no_other_layout_has_comes_back(checkpoint, tmp_path):
    save_checkpoint(checkpoint, tmp_path / "model")
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert {"anmok_config.json", "model.safetensors", "tokenizer.json"} < names
    again = load_checkpoint(tmp_path / "model")
    assert (again.spec, again.transform) == (checkpoint.spec, checkpoint.transform)
    assert again.tokenizer.digest() == checkpoint.tokenizer.digest()
    assert again.tokenizer.trims == checkpoint.tokenizer.trims
    assert again.fingerprint == checkpoint.fingerprint
    assert all(np.array_equal(again.weights[name], array) for name, array in checkpoint.weights.items())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_model_comes_back(layout, request, tmp_path):
    checkpoint = load_checkpoint(request.getfixturevalue(layout).folder)
    save_checkpoint(checkpoint, tmp_path / "own", layout="anmok")
    again = load_checkpoint(tmp_path / "own")
    assert again.fingerprint == checkpoint.fingerprint
    assert again.tokenizer.trims == checkpoint.tokenizer.trims
    assert again.tokenizer.kind == checkpoint.tokenizer.kind
    assert (again.tokenizer(TEXTS) == checkpoint.tokenizer(TEXTS)).all()


def test_the_names_in_the_file_are_ours(folder):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        assert set(file.keys()) == set(weight_shapes(load_checkpoint(folder).spec))


def test_both_engines_agree_on_what_was_saved(checkpoint, tmp_path, pictures):
    save_checkpoint(checkpoint, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model")
    pixels, ids = np.stack([again.transform(picture) for picture in pictures]), again.tokenizer(TEXTS)
    onnx, torch = (open_towers(again, engine=engine, threads=1) for engine in ("onnxruntime", "torch"))
    for ours, theirs in ((onnx.image(pixels), torch.image(pixels)), (onnx.text(ids), torch.text(ids))):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours / scale, theirs / scale, atol=1e-5, rtol=0)


def test_it_loads_and_encodes_without_torch(tiny_checkpoint, tmp_path):
    save_checkpoint(make(tiny_checkpoint, image=IMAGES["hybrid"], bag=True), tmp_path / "model")
    code = """
import sys, numpy as np, anmok
encoder = anmok.load(sys.argv[1])
pictures = encoder.encode_image([np.zeros((40, 50, 3), np.uint8), np.full((40, 50, 3), 255, np.uint8)])
texts = encoder.encode_text(["a red bag", ""])
print(pictures.vectors.shape, texts.vectors.shape, np.isfinite(pictures @ texts).all(), "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(2, 24) (2, 24) True False"


def test_half_precision_is_kept(tiny_checkpoint, tmp_path):
    checkpoint = make(tiny_checkpoint, image=IMAGES["cnn"])
    save_checkpoint(checkpoint, tmp_path / "half", precision="fp16")
    half = load_checkpoint(tmp_path / "half")
    name = "image.projection.weight"
    np.testing.assert_array_equal(half.weights[name], checkpoint.weights[name].astype(np.float16))
    save_checkpoint(half, tmp_path / "again")
    assert load_checkpoint(tmp_path / "again").fingerprint == half.fingerprint


def test_it_replaces_an_earlier_checkpoint_and_is_replaced(tiny_checkpoint, folder):
    save_checkpoint(tiny_checkpoint, folder)
    assert not (folder / "anmok_config.json").exists()
    assert load_checkpoint(folder).spec.image == tiny_checkpoint.spec.image
    save_checkpoint(tiny_checkpoint, folder, layout="anmok")
    assert not (folder / "config.json").exists()
    assert load_checkpoint(folder).fingerprint == tiny_checkpoint.fingerprint


def test_every_field_of_a_transform_comes_back(tiny_checkpoint, tmp_path):
    transform = Transform(size=(32, 32), resize="longest", fill=(7, 8, 9), interpolation="bilinear")
    save_checkpoint(replace(make(tiny_checkpoint, image=IMAGES["cnn"]), transform=transform), tmp_path / "x")
    assert load_checkpoint(tmp_path / "x").transform == transform


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (2, "is of version 2 of the layout, written by a newer anmok; this one reads version 1: pip install --upgrade"),
        (0, "has version 0; this anmok reads version 1: load it with the anmok that wrote it"),
        ("1", "has version '1'"),
        (True, "has version True"),
        (None, "has version None"),
    ],
)
def test_another_version_is_refused(folder, version, message):
    change(folder, lambda config: config.update(version=version))
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(folder)
    assert message in str(error.value)
    assert "anmok_config.json" in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.update(transfrom=1), "transfrom is no key. Did you mean 'transform'?"),
        (lambda c: c.pop("spec"), "spec is missing"),
        (lambda c: c.update(spec=[]), r"the spec is \[\], expected an object"),
        (lambda c: c["spec"]["image"].update(widht=2), "image.widht is no field. Did you mean 'width'?"),
        (lambda c: c["spec"]["image"].update(kind="cnm"), "image.kind is 'cnm'.*Did you mean 'cnn'"),
        (lambda c: c["spec"]["image"].update(layers=[1]), "efficientnet has 7 stages, not 1"),
        (lambda c: c.update(tokenizer="clip"), "tokenizer is 'clip', expected an object"),
        (lambda c: c["tokenizer"].update(cleen="lower"), "tokenizer.cleen is no key. Did you mean 'clean'?"),
        (lambda c: c["tokenizer"].pop("trims"), "tokenizer.trims is missing"),
        (lambda c: c["tokenizer"].update(trims=1), "tokenizer.trims is 1, expected bool"),
        (lambda c: c["tokenizer"].update(kind="bpe"), "kind of tokenizer is 'bpe'"),
        (lambda c: c["tokenizer"].update(context_length=40), "makes 40 tokens, the tower takes 77"),
        (lambda c: c["spec"]["text"].update(eos_token=7), "ends texts with 49407, the tower with 7"),
        (lambda c: c.update(transform=3), "transform is 3, expected an object"),
        (
            lambda c: c["transform"].update(resise="squash"),
            "anmok_config.json cannot be used: .*'resise' is not a field",
        ),
        (lambda c: c["transform"].update(size=[64, 64]), "preprocessing gives pictures of .*64, 64.*takes 32"),
        (lambda c: c["transform"].update(resize="naflex", patch_size="8"), "anmok_config.json cannot be used"),
    ],
)
def test_a_config_that_cannot_be_used_says_why(folder, edit, message):
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)


def test_all_problems_of_the_config_are_named_at_once(folder):
    change(folder, lambda c: (c.update(extra=1), c.pop("transform"), c["tokenizer"].pop("kind")))
    with pytest.raises(CheckpointError, match=r"extra is no key.*; transform is missing; tokenizer.kind is missing"):
        load_checkpoint(folder)


def test_a_missing_file_is_named(folder):
    shutil.copytree(folder, folder.parent / "weightless")
    (folder.parent / "weightless" / "model.safetensors").unlink()
    with pytest.raises(MissingFile, match=r"has anmok_config.json but no weights; looked for model.safetensors"):
        load_checkpoint(folder.parent / "weightless")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(MissingFile, match="has no tokenizer"):
        load_checkpoint(folder)


def test_weights_of_another_spec_are_refused(folder):
    change(folder, lambda c: c["spec"]["image"].update(width=0.25))
    with pytest.raises(WeightsMismatch, match=r"of another shape: image\.stages"):
        load_checkpoint(folder)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_noise_in_the_config_never_escapes_the_error_tree(folder, data):
    file = folder / "anmok_config.json"
    original = file.read_text(encoding="utf-8")
    config = json.loads(original)
    section = data.draw(st.sampled_from([config, config["transform"], config["tokenizer"], config["spec"]["text"]]))
    value = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)
    section[data.draw(st.sampled_from(sorted(section)))] = data.draw(value)
    file.write_text(json.dumps(config), encoding="utf-8")
    try:
        load_checkpoint(folder)
    except CheckpointError:
        pass
    finally:
        file.write_text(original, encoding="utf-8")
