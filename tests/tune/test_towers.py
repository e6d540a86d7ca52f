"""Examples make towers better; what is not asked to train does not; the same seed gives the same model, kill or not."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from anmok.checkpoints import load_checkpoint
from anmok.models.layers import depth, layer_of
from anmok.models.modules import from_weights
from anmok.models.modules.lora import MAPS
from anmok.progress import listen
from anmok.train.recipe import AugmentConfig
from anmok.train.state import StateError
from anmok.train.synthetic import draw_scene
from anmok.tune import TowerSettings, TuneError, interpolate, load_adapter, merge, tune_towers

TEXTS = [[f"a drawing of a {name}", name] for name in ("wug", "blick", "florp")]  # the model knows no word anyway
FEW = TowerSettings(steps=4, batch_size=6, precision="fp32")


def changed(before, after):
    return {name for name, array in before.weights.items() if not np.array_equal(array, after.weights[name])}


@pytest.mark.parametrize(
    "settings",
    [
        TowerSettings(steps=60, lr=5e-3, maps=MAPS, rank=4, alpha=8, dropout=0.1),
        TowerSettings(steps=40, lr=2e-3, method="full"),
    ],
)
def test_it_learns_new_classes(settings, checkpoints, drawn, accuracy):
    tuned = tune_towers(checkpoints["clip"], *drawn(48), TEXTS, settings=settings)
    assert accuracy(tuned.checkpoint, *drawn(90, seed=1), TEXTS) > 0.75  # chance is 0.33
    assert tuned.facts.loss < 0.7 < math.log(3)


@pytest.mark.parametrize(
    "settings", [TowerSettings(steps=15, lr=3e-3), TowerSettings(steps=15, lr=3e-4, method="last", last=1)]
)
def test_the_model_that_is_built_in_learns_words_that_it_does_not_know(settings, drawn, accuracy):
    checkpoint = load_checkpoint("anmok-mini")
    held_out = drawn(60, seed=1)
    tuned = tune_towers(checkpoint, *drawn(12), TEXTS, settings=settings)
    before, after = (accuracy(model, *held_out, TEXTS) for model in (checkpoint, tuned.checkpoint))
    assert after > 0.8
    assert after > before + 0.2


def test_lora_gives_an_adapter_that_makes_the_same_model(checkpoints, drawn, tmp_path):
    checkpoint = checkpoints["clip"]
    tuned = tune_towers(checkpoint, *drawn(12), TEXTS, settings=FEW, folder=tmp_path)
    adapter = load_adapter(tmp_path / "adapter", checkpoint.spec)
    again = merge(checkpoint, adapter)
    assert again.fingerprint == tuned.checkpoint.fingerprint != checkpoint.fingerprint
    assert changed(checkpoint, again) == {
        f"{tower}.blocks.{i}.attention.qkv.weight" for tower in ("image", "text") for i in (0, 1)
    }
    assert tuned.facts.parameters == adapter.parameters == 2 * 2 * 3 * 2 * (32 + 32)
    assert tuned.facts.of == sum(array.size for array in checkpoint.weights.values())
    assert 8 * adapter.parameters <= tuned.facts.optimizer_bytes < 9 * adapter.parameters
    assert (tmp_path / "adapter" / "adapter_model.safetensors").stat().st_size < 20_000


@pytest.mark.parametrize("tower", ["image", "text"])
@pytest.mark.parametrize("method", ["lora", "full", "last"])
def test_a_locked_tower_and_the_temperature_stay_as_they_are(method, tower, checkpoints, drawn):
    checkpoint = checkpoints["resnet"]
    settings = replace(FEW, method=method, **{tower: False}, last=1, lr=1e-2)
    names = changed(checkpoint, tune_towers(checkpoint, *drawn(12), TEXTS, settings=settings).checkpoint)
    other = "text" if tower == "image" else "image"
    assert names
    assert all(name.startswith(f"{other}.") for name in names)
    assert not any("running" in name for name in names)
    if method == "last":
        assert {layer_of(name, checkpoint.spec) for name in names} == {depth(checkpoint.spec, other)}


def test_siglip_and_naflex_train_as_well(specs, random_weights, siglip_tokenizer, tiny_checkpoint, drawn):
    for kind in ("siglip", "naflex"):
        transform = replace(tiny_checkpoint.transform, resize="squash", crop=False)
        if kind == "naflex":
            transform = replace(transform, resize="naflex", patch_size=8, max_patches=12)
        checkpoint = replace(
            tiny_checkpoint, spec=specs[kind], weights=random_weights(specs[kind]), tokenizer=siglip_tokenizer,
            transform=transform,
        )  # fmt: skip
        tuned = tune_towers(checkpoint, *drawn(12), TEXTS, settings=replace(FEW, steps=30, lr=2e-2, texts_per_step=0))
        assert tuned.facts.loss < 1.0


def test_the_same_seed_gives_the_same_model_and_leaves_the_callers_random_numbers_alone(checkpoints, drawn):
    checkpoint = checkpoints["clip"]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (
        tune_towers(checkpoint, *drawn(12), TEXTS, settings=FEW, seed=seed).checkpoint.fingerprint for seed in (3, 3, 4)
    )
    assert one == same != other
    assert torch.equal(torch.rand(3), expected)


def test_bad_pictures_are_left_out_and_named(checkpoints, drawn, tmp_path):
    pictures, targets = drawn(9)
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    tuned = tune_towers(
        checkpoints["clip"], [*pictures, tmp_path / "torn.jpg"], [*targets, 0], TEXTS, settings=replace(FEW, steps=1)
    )
    (failure,) = tuned.facts.failed
    assert (failure.index, failure.picture) == (9, str(tmp_path / "torn.jpg"))
    with pytest.raises(TuneError, match=r"of 1 pictures none can be used; the first, .*torn\.jpg"):
        tune_towers(checkpoints["clip"], [tmp_path / "torn.jpg"], [0], TEXTS)


def test_what_cannot_be_tuned_is_told_at_once(checkpoints, drawn):
    pictures, targets = drawn(6)
    with pytest.raises(
        TuneError, match=r"6 pictures but 5 targets.*; targets must be 0 to 1.*; each class needs a list"
    ):
        tune_towers(checkpoints["clip"], pictures, targets[:5], ["red", "blue"])
    with pytest.raises(TuneError, match="1 classes"):
        tune_towers(checkpoints["clip"], pictures, [0] * 6, [["red"]])
    with pytest.raises(TuneError, match="expected whole numbers"):
        tune_towers(checkpoints["clip"], pictures, [0.5] * 6, TEXTS)
    with pytest.raises(TuneError, match="none of the maps conv"):
        tune_towers(checkpoints["clip"], pictures, targets, TEXTS, settings=TowerSettings(maps=("conv",)))
    with pytest.raises(TuneError, match=r"both towers locked.*; .*negative"):
        TowerSettings(image=False, text=False, steps=-1)
    with pytest.raises(TuneError, match=r"the loss is nan at step \d+: take a lower lr than 1e\+30"):
        tune_towers(checkpoints["clip"], pictures, targets, TEXTS, settings=replace(FEW, method="full", lr=1e30))


def test_progress_is_told_and_no_augmentation_is_possible(checkpoints, drawn):
    heard = []
    with listen(heard.append):
        plain = replace(FEW, augment=AugmentConfig(scale=(1, 1), ratio=(1, 1)))
        tune_towers(checkpoints["clip"], *drawn(6), TEXTS, settings=plain)
    assert [(one.name, one.total) for one in heard if one.finished] == [("reading pictures", 6), ("tuning", 4)]


def test_between_the_two_models(checkpoints, drawn):
    checkpoint = checkpoints["clip"]
    tuned = tune_towers(checkpoint, *drawn(6), TEXTS, settings=replace(FEW, method="full", lr=1e-2)).checkpoint
    half = replace(tuned, weights=interpolate(checkpoint.weights, tuned.weights, 0.5))
    assert len({checkpoint.fingerprint, tuned.fingerprint, half.fingerprint}) == 3
    from_weights(half.spec, half.weights)


# --- going on

RUN = """
import runpy, sys
import torch
from anmok.progress import listen
torch.set_num_threads(1)
going_on = runpy.run_path(sys.argv[1])["going_on"]
with listen(lambda one: print(one.name, one.done, flush=True)):
    going_on(*sys.argv[2:])
"""


def going_on(model, folder):
    """A run with everything random in it: order, texts, augmentation, dropout."""
    pictures = [draw_scene(np.random.default_rng(i)).picture for i in range(10)]
    settings = TowerSettings(steps=40, batch_size=4, save_every=7, precision="fp32", augment=AugmentConfig(mirror=0.5))
    targets = np.arange(10) % 3
    return tune_towers(load_checkpoint(model), pictures, targets, TEXTS, settings=settings, folder=folder)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_goes_on_to_the_very_same_weights(tiny_folder, tmp_path):
    straight = going_on(tiny_folder, tmp_path / "straight")
    command = [sys.executable, "-c", RUN, __file__, str(tiny_folder), str(tmp_path / "killed")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as run:
        for line in run.stdout:
            if line.strip() == "tuning 24":
                run.send_signal(signal.SIGKILL)
                break
    states = sorted(path.name for path in (tmp_path / "killed" / "states").glob("*.pt"))
    assert states[-1] in ("step-00000021.pt", "step-00000028.pt")
    assert not (tmp_path / "killed" / "adapter").exists()
    resumed = going_on(tiny_folder, tmp_path / "killed")
    assert changed(straight.checkpoint, resumed.checkpoint) == set()
    assert resumed.facts.loss == straight.facts.loss
    assert (
        going_on(tiny_folder, tmp_path / "killed").checkpoint.fingerprint == straight.checkpoint.fingerprint
    )  # nothing left to do


def test_another_run_in_the_folder_is_not_gone_on_with(checkpoints, drawn, tmp_path):
    checkpoint = checkpoints["clip"]
    tune_towers(checkpoint, *drawn(6), TEXTS, settings=FEW, folder=tmp_path)
    for different in ({"seed": 1}, {"settings": replace(FEW, rank=3)}):
        with pytest.raises(TuneError, match="another model, other pictures or texts, settings or seed"):
            tune_towers(checkpoint, *drawn(6), TEXTS, folder=tmp_path, **{"settings": FEW, **different})
    with pytest.raises(TuneError, match="another model"):
        tune_towers(checkpoint, *drawn(6, seed=1), TEXTS, folder=tmp_path, settings=FEW)
    (state,) = (tmp_path / "states").glob("*.pt")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(StateError, match="cannot be read"):
        tune_towers(checkpoint, *drawn(6), TEXTS, settings=FEW, folder=tmp_path)
