"""PyTorch as an engine. No GPU is at hand in these tests: the processor stands in for one."""

from dataclasses import replace

import numpy as np
import pytest

from anmok.encoder import Encoder
from anmok.errors import MissingExtra
from anmok.runtime import choice as choosing
from anmok.runtime import openvino, pytorch
from anmok.runtime.choice import EXACT, Way, open_tower, ways
from anmok.runtime.pytorch import TorchSession
from anmok.runtime.trial import Trial, embed
from anmok.settings import settings

TEXTS = ["a red bag", "a red bag on a table", "apples on a table", ""]


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path))
    monkeypatch.setenv("ANMOK_PRECISION", "auto")
    monkeypatch.setattr(openvino, "installed", lambda: False)


@pytest.fixture
def with_gpu(monkeypatch):
    monkeypatch.setattr(pytorch, "gpu", lambda: "cpu")


@pytest.fixture
def torch_is_fast(monkeypatch):
    monkeypatch.setattr(choosing, "_ratio", lambda _, other, __: 5.0 if isinstance(other, TorchSession) else 0.5)


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize(("precision", "off"), [("fp32", 2e-5), ("bf16", 0.05)])
def test_both_towers_agree_with_the_graphs(checkpoint, tower, precision, off):
    feeds = list(Trial(checkpoint, tower).judged())
    exact = embed(open_tower(checkpoint, tower, EXACT, threads=1), iter(feeds), "")
    found = embed(open_tower(checkpoint, tower, Way("torch", precision), threads=1), iter(feeds), "")
    assert found.dtype == np.float32
    difference = np.abs(found - exact).max() / np.abs(exact).max()
    assert difference < off
    assert (difference > 1e-4) == (precision == "bf16")


@pytest.mark.usefixtures("with_gpu", "torch_is_fast")
def test_a_gpu_is_used_without_being_named(checkpoint):
    expected = Encoder(checkpoint, precision="fp32")
    for tower in ("image", "text"):
        chosen = choosing.choose(checkpoint, tower, settings().threads)
        assert chosen.way.engine == "torch"
        assert not chosen.certificate.refusal
    encoder = Encoder(checkpoint)
    assert encoder.runs("text").startswith("torch")
    near = (encoder.encode_text(TEXTS).vectors * expected.encode_text(TEXTS).vectors).sum(axis=1)
    assert near.min() > 0.999
    picture = np.random.default_rng(0).integers(0, 255, (50, 40, 3), np.uint8)
    assert encoder.encode_image(picture).vectors @ expected.encode_image(picture).vectors.T > 0.999


def test_without_a_gpu_it_is_used_only_where_it_is_named(checkpoint, monkeypatch):
    monkeypatch.setattr(pytorch, "gpu", lambda: None)
    assert all(way.engine != "torch" for way in ways(checkpoint))
    assert ways(checkpoint, engine="torch", precision="bf16") == [Way("torch", "bf16")]
    naflex = replace(checkpoint, transform=replace(checkpoint.transform, resize="naflex", patch_size=8, max_patches=16))
    assert ways(naflex, engine="torch", precision="bf16") == []
    monkeypatch.setattr(pytorch, "installed", lambda: False)
    assert ways(checkpoint, engine="torch", precision="bf16") == []
    with pytest.raises(MissingExtra, match=r"anmok\[train\]"):
        Encoder(checkpoint, engine="torch")


def test_bf16_can_be_asked_for(checkpoint):
    encoder = Encoder(checkpoint, engine="torch", precision="bf16")
    assert encoder.runs("text") == "torch bf16"
    exact = Encoder(checkpoint, engine="torch")
    assert exact.runs("text") == "torch fp32"
    near = (encoder.encode_text(TEXTS).vectors * exact.encode_text(TEXTS).vectors).sum(axis=1)
    assert 0.999 < near.min() < 0.9999999
