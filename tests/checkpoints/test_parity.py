"""Every layout, through both executors, equal to the reference that wrote it: ≤ 1e-5 on the same weights.

The pictures have odd sizes and go through the checkpoint's own transform; the texts are empty,
short and longer than the context.
"""

from __future__ import annotations

import numpy as np
import pytest

from anmok.checkpoints import load_checkpoint
from anmok.pictures import normalize, normalize_patches
from anmok.runtime import open_towers

from .conftest import TEXTS, make_clip, make_open_clip

EXACT = 1e-5
ENGINES = ["onnxruntime", "torch"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def features(output) -> np.ndarray:
    tensor = output if hasattr(output, "detach") else output.pooler_output
    return tensor.detach().numpy()


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def logits(images, texts, scale: float, bias: float) -> np.ndarray:
    return np.exp(scale) * unit(images) @ unit(texts).T + bias


def encode(checkpoint, engine: str, pictures) -> tuple[np.ndarray, np.ndarray]:
    towers = open_towers(checkpoint, engine=engine, threads=1)
    transform = checkpoint.transform
    if transform.resize == "naflex":
        parts = [transform.patches(picture) for picture in pictures]
        patches, mask, shapes = (np.stack([np.asarray(part[i]) for part in parts]) for i in range(3))
        images = towers.patches(patches, mask, shapes.astype(np.int64))
    else:
        images = towers.image(np.stack([transform(picture) for picture in pictures]))
    return images, towers.text(checkpoint.tokenizer(TEXTS))


def assert_equal(checkpoint, engine: str, pictures, images, texts) -> None:
    ours = encode(checkpoint, engine, pictures)
    assert np.abs(ours[0] - images).max() <= EXACT
    assert np.abs(ours[1] - texts).max() <= EXACT
    scale = float(checkpoint.weights["logit_scale"])
    bias = float(checkpoint.weights["logit_bias"]) if checkpoint.spec.logit_bias else 0.0
    assert (scale, bias) == pytest.approx((1.3, -0.7 if checkpoint.spec.logit_bias else 0.0))
    assert np.abs(logits(*ours, scale, bias) - logits(images, texts, scale, bias)).max() <= EXACT
    assert np.abs(unit(images) @ unit(images).T).min() < 0.999  # the reference tells the pictures apart at all


def reference_pixels(checkpoint, pictures):
    import torch

    transform = checkpoint.transform
    return torch.from_numpy(normalize(np.stack([transform(picture) for picture in pictures]), transform))


def full_rows(checkpoint):
    import torch

    return torch.from_numpy(checkpoint.tokenizer(TEXTS, trim=False))


def huggingface_reference(model, checkpoint, pictures):
    import torch

    with torch.inference_mode():
        images = features(model.get_image_features(pixel_values=reference_pixels(checkpoint, pictures)))
        return images, features(model.get_text_features(input_ids=full_rows(checkpoint)))


def open_clip_reference(model, checkpoint, pictures):
    import torch

    with torch.inference_mode():
        images = features(model.encode_image(reference_pixels(checkpoint, pictures)))
        return images, features(model.encode_text(full_rows(checkpoint)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["clip_folder", "siglip_folder", "siglip2_folder"])
def test_huggingface_folder_equals_transformers(layout, engine, request, pictures):
    made = request.getfixturevalue(layout)
    checkpoint = load_checkpoint(made.folder)
    assert_equal(checkpoint, engine, pictures, *huggingface_reference(made.model, checkpoint, pictures))


@pytest.mark.parametrize("engine", ENGINES)
def test_naflex_folder_equals_transformers(naflex_folder, engine, pictures):
    import torch

    checkpoint = load_checkpoint(naflex_folder.folder)
    parts = [checkpoint.transform.patches(picture) for picture in pictures]
    patches, mask, shapes = (np.stack([np.asarray(part[i]) for part in parts]) for i in range(3))
    assert not mask.all(), "some rows should be padded"
    assert len(np.unique(shapes, axis=0)) > 1, "the pictures should have several shapes"
    with torch.inference_mode():
        images = naflex_folder.model.get_image_features(
            pixel_values=torch.from_numpy(normalize_patches(patches, checkpoint.transform)),
            pixel_attention_mask=torch.from_numpy(mask.astype(np.int64)),
            spatial_shapes=torch.from_numpy(shapes.astype(np.int64)),
        )
        texts = naflex_folder.model.get_text_features(input_ids=full_rows(checkpoint))
    assert_equal(checkpoint, engine, pictures, features(images), features(texts))


@pytest.mark.parametrize("engine", ENGINES)
def test_legacy_clip_config_pools_at_the_first_end_of_text(
    tmp_path, transformers, clip_tokenizer_files, engine, pictures
):
    """`eos_token_id` 2, as in openai/clip-vit-base-patch32: transformers pools at the highest id."""
    model = make_clip(transformers, tmp_path, clip_tokenizer_files, eos_token_id=2)
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.spec.text.eos_token == 49407
    assert_equal(checkpoint, engine, pictures, *huggingface_reference(model, checkpoint, pictures))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["open_clip_folder", "resnet_folder", "timm_folder"])
def test_open_clip_folder_equals_open_clip(layout, engine, request, pictures):
    made = request.getfixturevalue(layout)
    checkpoint = load_checkpoint(made.folder)
    assert_equal(checkpoint, engine, pictures, *open_clip_reference(made.model, checkpoint, pictures))


@pytest.mark.parametrize(
    "change",
    [
        {"quick_gelu": False},
        {"custom_text": True},
        {"vision_cfg": {"pool_type": "avg"}},
        {"vision_cfg": {"no_ln_pre": True}},
        {"vision_cfg": {"final_ln_after_pool": True}, "text_cfg": {"final_ln_after_pool": True}},
        {"vision_cfg": {"norm_kwargs": {"eps": 1e-3}}, "text_cfg": {"proj_bias": True}},
        {"text_cfg": {"pool_type": "eos", "eos_id": 49407}, "vision_cfg": {"mlp_ratio": 2.6667}},
        {"init_logit_bias": -10},
    ],
    ids=str,
)
def test_open_clip_options_equal_open_clip(change, tmp_path, open_clip, open_clip_folder, pictures):
    config = dict(open_clip_folder.config)
    for key, value in change.items():
        config[key] = {**config[key], **value} if isinstance(value, dict) else value
    preprocess = {
        "mean": [0.4, 0.5, 0.6],
        "std": [0.3, 0.2, 0.25],
        "interpolation": "bilinear",
        "resize_mode": "squash",
    }
    model = make_open_clip(open_clip, tmp_path, config, preprocess)
    checkpoint = load_checkpoint(tmp_path)
    assert_equal(checkpoint, "onnxruntime", pictures, *open_clip_reference(model, checkpoint, pictures))


@pytest.mark.parametrize("layout", ["open_clip_folder", "resnet_folder"])
def test_openai_state_dict_equals_open_clip(layout, request, tmp_path, open_clip, pictures):
    """open_clip's CLIP and OpenAI's have the same names; OpenAI's file has no config and three notes beside."""
    import torch

    head = {"vision_cfg": {"width": 64, "head_width": 64}} if layout == "open_clip_folder" else {}
    config = {**request.getfixturevalue(layout).config, "text_cfg": {**TEXT_64}}
    config["vision_cfg"] = {**config["vision_cfg"], **head.get("vision_cfg", {})}
    model = make_open_clip(open_clip, tmp_path, config, {})
    notes = {
        "input_resolution": torch.tensor(32),
        "context_length": torch.tensor(77),
        "vocab_size": torch.tensor(49408),
    }
    torch.save({**model.state_dict(), **notes}, tmp_path / "TINY.pt")
    checkpoint = load_checkpoint(tmp_path / "TINY.pt")
    assert checkpoint.spec.text.activation == "quick_gelu"
    for engine in ENGINES:
        assert_equal(checkpoint, engine, pictures, *open_clip_reference(model, checkpoint, pictures))


TEXT_64 = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}


def test_token_ids_are_the_references_own(clip_folder, siglip_folder, transformers, open_clip, open_clip_folder):
    """The tokenizer that a layout brings gives what the reference's tokenizer of that layout gives."""
    for made in (clip_folder, siglip_folder):
        checkpoint = load_checkpoint(made.folder)
        reference = transformers.AutoTokenizer.from_pretrained(made.folder)
        length = checkpoint.tokenizer.context_length
        theirs = reference(TEXTS, padding="max_length", truncation=True, max_length=length)["input_ids"]
        assert checkpoint.tokenizer(TEXTS, trim=False).tolist() == theirs
    checkpoint = load_checkpoint(open_clip_folder.folder)
    theirs = open_clip.SimpleTokenizer()(TEXTS, context_length=77)
    assert checkpoint.tokenizer(TEXTS, trim=False).tolist() == theirs.tolist()
