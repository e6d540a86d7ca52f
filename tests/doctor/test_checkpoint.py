"""The doctor must catch the silent mistakes, and leave a right checkpoint alone."""

import json
from dataclasses import replace

import numpy as np
import pytest

from anmok.doctor import examine_encoder
from anmok.doctor.checkpoint import GOLDEN_TEXTS, golden_pictures
from anmok.encoder import Encoder
from anmok.models.spec import DualSpec, TextSpec, VitSpec, weight_shapes


def statuses(encoder) -> dict[str, str]:
    return {finding.name: finding.status for finding in examine_encoder(encoder)}


@pytest.fixture(scope="module")
def siglip(tiny_checkpoint):
    """A tiny SigLIP whose transform crops and whose text is not lower-cased to one length: all wrong on purpose."""
    spec = DualSpec(
        image=VitSpec(
            image_size=32, patch_size=8, width=32, layers=1, heads=2, mlp_width=64, activation="gelu_tanh",
            pool="map", class_token=False, pre_norm=False, patch_bias=True, norm_eps=1e-6, projection=False,
        ),
        text=TextSpec(
            vocabulary=49408, context_length=77, width=32, layers=1, heads=2, mlp_width=32, activation="gelu_tanh",
            causal=False, pool="last", norm_eps=1e-6, projection_bias=True, eos_token=49407, pad_token=0,
        ),
        dimension=32,
        score="sigmoid",
    )  # fmt: skip
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(size=shape).astype(np.float32) * 0.1 for name, shape in weight_shapes(spec).items()}
    tokenizer = tiny_checkpoint.tokenizer
    return replace(tiny_checkpoint, spec=spec, weights=weights, tokenizer=tokenizer)


def test_right_checkpoint_has_nothing_wrong(tiny_encoder):
    found = statuses(tiny_encoder)
    assert "wrong" not in found.values()
    assert found["equal to the PyTorch modules"] == "ok"
    assert found["alone and in a batch"] == "ok"


def test_siglip_that_crops_is_caught(siglip):
    findings = {f.name: f for f in examine_encoder(Encoder(siglip))}
    assert findings["resizing"].status == "wrong"
    assert "squash" in findings["resizing"].detail


def test_siglip_that_squashes_is_right(siglip):
    squashing = replace(siglip, transform=replace(siglip.transform, resize="squash", crop=False))
    assert statuses(Encoder(squashing))["resizing"] == "ok"


def test_siglip_whose_texts_are_not_padded_is_caught(siglip):
    assert statuses(Encoder(siglip))["text length"] == "wrong"


def test_resizing_without_antialiasing_is_caught(tiny_checkpoint):
    nearest = replace(tiny_checkpoint, transform=replace(tiny_checkpoint.transform, interpolation="nearest"))
    assert statuses(Encoder(nearest))["antialiasing"] == "wrong"


def test_model_without_korean_is_told(tiny_encoder):
    assert statuses(tiny_encoder)["Korean text"] == "missing"


def test_stored_golden_embeddings_are_compared(tiny_checkpoint, tmp_path):
    encoder = Encoder(replace(tiny_checkpoint, folder=tmp_path))
    golden = {
        "pictures": encoder.encode_image(golden_pictures()).vectors.tolist(),
        "texts": encoder.encode_text(GOLDEN_TEXTS[:1] + GOLDEN_TEXTS[:1] + GOLDEN_TEXTS[2:]).vectors.tolist(),
    }
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    assert statuses(encoder)["stored golden embeddings"] == "wrong"  # the Korean text's row was replaced
