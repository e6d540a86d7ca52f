"""What anmok saves, the references load; what it loads again has the same fingerprint."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.checkpoints.open_clip import to_open_clip
from anmok.errors import CheckpointError, WeightsMismatch
from anmok.models.spec import weight_shapes
from anmok.pictures import Transform

from .test_parity import features, full_rows, reference_pixels

LAYOUTS = [
    "clip_folder", "siglip_folder", "siglip2_folder", "naflex_folder", "open_clip_folder", "resnet_folder",
    "timm_folder",
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_round_trip_keeps_the_fingerprint(layout, request, tmp_path):
    checkpoint = load_checkpoint(request.getfixturevalue(layout).folder)
    save_checkpoint(checkpoint, tmp_path / "saved")
    again = load_checkpoint(tmp_path / "saved")
    assert again.spec == checkpoint.spec
    assert again.transform == checkpoint.transform
    assert again.tokenizer.digest() == checkpoint.tokenizer.digest()
    assert again.fingerprint == checkpoint.fingerprint
    assert [entry.name for entry in tmp_path.iterdir() if "saved" in entry.name] == ["saved"]


@pytest.mark.parametrize(
    "layout", ["clip_folder", "siglip_folder", "siglip2_folder", "open_clip_folder", "timm_folder"]
)
def test_transformers_loads_what_was_saved(layout, request, tmp_path, transformers, pictures):
    """Also what came from open_clip: the same embeddings under another roof."""
    import torch

    made = request.getfixturevalue(layout)
    checkpoint = load_checkpoint(made.folder)
    save_checkpoint(checkpoint, tmp_path / "saved")
    model, report = transformers.AutoModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    pixels, ids = reference_pixels(checkpoint, pictures), full_rows(checkpoint)
    with torch.inference_mode():
        images = features(model.eval().get_image_features(pixel_values=pixels))
        texts = features(model.get_text_features(input_ids=ids))
        if hasattr(made.model, "get_image_features"):
            expected = made.model.get_image_features(pixel_values=pixels), made.model.get_text_features(input_ids=ids)
        else:
            expected = made.model.encode_image(pixels), made.model.encode_text(ids)
    assert np.abs(images - features(expected[0])).max() <= 1e-5
    assert np.abs(texts - features(expected[1])).max() <= 1e-5
    assert float(model.logit_scale.detach()) == pytest.approx(1.3)


def test_transformers_loads_a_saved_naflex_model(naflex_folder, tmp_path, transformers):
    save_checkpoint(load_checkpoint(naflex_folder.folder), tmp_path / "saved")
    model, report = transformers.AutoModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ours, theirs = model.state_dict(), naflex_folder.model.state_dict()
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_transformers_reads_the_saved_tokenizer_and_processor(clip_folder, tmp_path, transformers):
    checkpoint = load_checkpoint(clip_folder.folder)
    save_checkpoint(checkpoint, tmp_path / "saved")
    texts = ["a photo of a cat", "빨간 가방"]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")(texts, padding=True)["input_ids"]
    assert checkpoint.tokenizer(texts).tolist() == theirs
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "saved")
    assert type(processor).__name__.startswith("CLIPImageProcessor")
    assert dict(processor.crop_size) == {"height": 32, "width": 32}


@pytest.mark.parametrize("layout", ["open_clip_folder", "resnet_folder"])
def test_open_clip_loads_what_was_saved(layout, request, tmp_path, open_clip, pictures):
    import torch

    made = request.getfixturevalue(layout)
    checkpoint = load_checkpoint(made.folder)
    save_checkpoint(checkpoint, tmp_path / "saved", layout="open_clip")
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'saved'}")
    pixels, ids = reference_pixels(checkpoint, pictures), full_rows(checkpoint)
    with torch.inference_mode():
        images, texts = model.eval().encode_image(pixels), model.encode_text(ids)
        expected = made.model.encode_image(pixels), made.model.encode_text(ids)
    assert np.abs(features(images) - features(expected[0])).max() <= 1e-5
    assert np.abs(features(texts) - features(expected[1])).max() <= 1e-5
    assert load_checkpoint(tmp_path / "saved").fingerprint == checkpoint.fingerprint


@pytest.mark.parametrize("layout", ["open_clip_folder", "resnet_folder"])
def test_to_open_clip_gives_the_state_dict_back(layout, request):
    made = request.getfixturevalue(layout)
    checkpoint = load_checkpoint(made.folder)
    arrays = to_open_clip(checkpoint.spec, checkpoint.weights)
    state = {name: value for name, value in made.model.state_dict().items() if "num_batches" not in name}
    assert set(arrays) == set(state)
    assert all((arrays[name] == state[name].numpy()).all() for name in state)


def test_resnet_of_other_heads_comes_back(resnet_folder, tmp_path):
    checkpoint = load_checkpoint(resnet_folder.folder)
    spec = replace(checkpoint.spec, image=replace(checkpoint.spec.image, heads=8))
    save_checkpoint(replace(checkpoint, spec=spec), tmp_path / "x")
    assert load_checkpoint(tmp_path / "x").spec == spec


def test_foreign_tokenizer_in_the_open_clip_layout_comes_back(tmp_path, siglip_folder, open_clip_folder):
    """A CLIP with a tokenizer of its own, as a model trained here has."""
    tokenizer = load_checkpoint(siglip_folder.folder).tokenizer
    clip = load_checkpoint(open_clip_folder.folder)
    text = replace(clip.spec.text, context_length=16, pool="last", eos_token=1, pad_token=1)
    spec = replace(clip.spec, text=text)
    weights = {**clip.weights, "text.position_embedding": clip.weights["text.position_embedding"][:16]}
    checkpoint = Checkpoint("own", spec, weights, clip.transform, tokenizer)
    save_checkpoint(checkpoint, tmp_path / "own", layout="open_clip")
    again = load_checkpoint(tmp_path / "own")
    assert again.fingerprint == checkpoint.fingerprint


@pytest.mark.parametrize(
    "transform",
    [
        Transform(size=(32, 32), resize="squash", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bilinear"),
        Transform(size=(32, 32), resize="shortest", resize_to=(36, 36), rounding="transformers"),
        Transform(size=(32, 32), resize="shortest", rounding="torchvision"),
        Transform(size=(32, 32), resize="longest", fill=(7, 8, 9)),
        Transform(size=(32, 32), resize="squash", interpolation="nearest", rounding="torchvision"),
    ],
    ids=str,
)
def test_every_transform_comes_back(transform, clip_folder, tmp_path):
    checkpoint = replace(load_checkpoint(clip_folder.folder), transform=transform)
    save_checkpoint(checkpoint, tmp_path / "saved")
    assert load_checkpoint(tmp_path / "saved").transform == transform


def test_half_precision_halves_the_file(clip_folder, tmp_path):
    checkpoint = load_checkpoint(clip_folder.folder)
    save_checkpoint(checkpoint, tmp_path / "half", precision="fp16")
    half = load_checkpoint(tmp_path / "half")
    assert half.weights["image.norm.weight"].dtype == np.float16
    assert half.fingerprint != checkpoint.fingerprint
    np.testing.assert_array_equal(
        half.weights["image.projection.weight"], checkpoint.weights["image.projection.weight"].astype(np.float16)
    )
    save_checkpoint(half, tmp_path / "full", precision="fp32")
    assert load_checkpoint(tmp_path / "full").weights["image.norm.weight"].dtype == np.float32


def test_saving_over_an_earlier_checkpoint_replaces_it(clip_folder, open_clip_folder, tmp_path):
    save_checkpoint(load_checkpoint(open_clip_folder.folder), tmp_path / "x", layout="open_clip")
    clip = load_checkpoint(clip_folder.folder)
    save_checkpoint(clip, tmp_path / "x")
    assert load_checkpoint(tmp_path / "x").fingerprint == clip.fingerprint
    assert not (tmp_path / "x" / "open_clip_config.json").exists()


def test_saving_over_other_things_is_refused(clip_folder, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds other things than a checkpoint"):
        save_checkpoint(load_checkpoint(clip_folder.folder), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_failed_save_leaves_what_was_there(clip_folder, tmp_path, monkeypatch):
    clip = load_checkpoint(clip_folder.folder)
    save_checkpoint(clip, tmp_path / "x")

    class Fails(dict):
        def __getitem__(self, name):
            if name == "text.norm.bias" and self.armed:
                raise OSError("no space left on device")
            return super().__getitem__(name)

    weights = Fails(clip.weights)
    weights.armed = False
    from anmok.checkpoints import save

    monkeypatch.setattr(save, "_check_weights", lambda checkpoint: setattr(weights, "armed", True))
    with pytest.raises(CheckpointError, match="cannot be written: no space left"):
        save_checkpoint(replace(clip, weights=weights), tmp_path / "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]
    assert load_checkpoint(tmp_path / "x").fingerprint == clip.fingerprint


def test_weights_that_do_not_fit_are_not_saved(clip_folder, tmp_path):
    clip = load_checkpoint(clip_folder.folder)
    few = {name: clip.weights[name] for name in list(weight_shapes(clip.spec))[:-1]}
    with pytest.raises(WeightsMismatch, match="its weights lack logit_scale"):
        save_checkpoint(replace(clip, weights=few), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("layout", ["huggingface", "open_clip"])
def test_spec_that_a_layout_has_not_is_refused(clip_folder, tmp_path, layout):
    clip = load_checkpoint(clip_folder.folder)
    odd = replace(clip.spec, image=replace(clip.spec.image, patch_bias=True))
    with pytest.raises(CheckpointError, match=r"cannot be saved \(.*layout='anmok' takes every model"):
        save_checkpoint(replace(clip, spec=odd), tmp_path / "x", layout=layout)


def test_unknown_layout_proposes_near_ones(clip_folder, tmp_path):
    with pytest.raises(CheckpointError, match="Did you mean 'huggingface'"):
        save_checkpoint(load_checkpoint(clip_folder.folder), tmp_path / "x", layout="hugging-face")


def test_open_clip_config_names_the_checkpoint_and_no_temporary_folder(tmp_path):
    save_checkpoint(load_checkpoint("anmok-mini"), tmp_path / "copy", layout="open_clip")
    config = json.loads((tmp_path / "copy" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == "anmok-mini"
