"""The fingerprint changes with everything that changes an embedding, and with nothing else."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from anmok.checkpoints import fingerprint as public
from anmok.checkpoints import load_checkpoint
from anmok.texts import Tokenizer


@pytest.fixture
def clip(clip_folder):
    return load_checkpoint(clip_folder.folder)


def test_fingerprint_is_long_hex_and_stable(clip, clip_folder):
    assert len(clip.fingerprint) >= 16
    int(clip.fingerprint, 16)
    assert clip.fingerprint == load_checkpoint(clip_folder.folder).fingerprint == public(clip)


def test_folder_name_license_and_storage_do_not_matter(clip, clip_folder, tmp_path):
    import torch
    from safetensors.torch import load_file

    shutil.copytree(clip_folder.folder, tmp_path / "moved")
    (tmp_path / "moved" / "README.md").write_text("---\nlicense: mit\n---\n")
    torch.save(load_file(tmp_path / "moved" / "model.safetensors"), tmp_path / "moved" / "pytorch_model.bin")
    (tmp_path / "moved" / "model.safetensors").unlink()
    assert load_checkpoint(tmp_path / "moved").fingerprint == clip.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda c: replace(c, transform=replace(c.transform, resize="squash")),
        lambda c: replace(c, transform=replace(c.transform, mean=(0.5, 0.5, 0.5))),
        lambda c: replace(c, tokenizer=Tokenizer.clip()),
        lambda c: replace(c, spec=replace(c.spec, text=replace(c.spec.text, activation="gelu"))),
        lambda c: replace(c, weights={**c.weights, "logit_scale": np.array(1.31, np.float32)}),
        lambda c: replace(
            c, weights={**c.weights, "image.norm.bias": np.nextafter(c.weights["image.norm.bias"], np.float32(9))}
        ),
        lambda c: replace(c, weights={**c.weights, "image.norm.bias": c.weights["image.norm.bias"].astype(np.float64)}),
    ],
    ids=["resize", "mean", "tokenizer", "activation", "scale", "one-ulp", "dtype"],
)
def test_everything_that_matters_changes_it(clip, change):
    assert change(clip).fingerprint != clip.fingerprint


def test_large_files_are_hashed_once(clip_folder, tmp_path, monkeypatch):
    module = sys.modules["anmok.checkpoints.fingerprint"]  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "REMEMBERED_FROM", 1)
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
    folder = shutil.copytree(clip_folder.folder, tmp_path / "model")
    first = load_checkpoint(folder).fingerprint
    cache = tmp_path / "home" / "fingerprints.json"
    assert len(json.loads(cache.read_text())) == 1

    monkeypatch.setattr(module, "_hash_arrays", lambda checkpoint: pytest.fail("hashed again"))
    assert load_checkpoint(folder).fingerprint == first
    # a damaged cache is forgotten, a changed file is hashed anew
    monkeypatch.undo()
    monkeypatch.setattr(module, "REMEMBERED_FROM", 1)
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "home"))
    cache.write_text("{")
    assert load_checkpoint(folder).fingerprint == first
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert load_checkpoint(folder).fingerprint != first


def test_home_that_cannot_be_written_costs_only_time(clip_folder, tmp_path, monkeypatch):
    module = sys.modules["anmok.checkpoints.fingerprint"]
    monkeypatch.setattr(module, "REMEMBERED_FROM", 1)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ANMOK_HOME", str(tmp_path / "file" / "home"))
    assert load_checkpoint(clip_folder.folder).fingerprint


def test_the_shipped_model_keeps_its_fingerprint():
    """Its scores are measured against a background that is stored under it, and so are users' collections."""
    backgrounds = resources.files("anmok").joinpath("data/backgrounds").iterdir()
    assert any(file.name.startswith(f"{load_checkpoint('anmok-mini').fingerprint}-") for file in backgrounds)
