"""The loop from end to end: what it makes is usable at once, goes on exactly after a kill, and says what went wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import anmok
from anmok.checkpoints import load_checkpoint
from anmok.train.loop import Diverged, train
from anmok.train.recipe import RecipeError, read_recipe, write_recipe
from anmok.train.state import StateError
from anmok.train.synthetic import COLORS

SCRATCH = {"model__start": "", "model__size": "tiny-vit", "model__image_size": 32, "model__vocabulary": 400}


def records(folder, kind):
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def weights(folder):
    return {name: np.array(array) for name, array in load_checkpoint(folder).weights.items()}


def last(recipe, **options):
    """Train; the folder of the model after the last step."""
    return train(recipe, **options).model.parent / "last"


def apart(one, other):
    """The largest difference of any weight."""
    assert one.keys() == other.keys()
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_a_run_leaves_a_model_to_use_and_all_that_it_takes_to_run_again(small_recipe):
    recipe = small_recipe(run__steps=12, **SCRATCH)
    heard = []
    result = train(recipe, listener=heard.append)
    folder = result.model.parent
    assert (result.steps, result.samples, result.skipped) == (12, 192, {})

    encoder = anmok.load(result.model)  # the graph, no torch
    assert encoder.encode_text(["a red circle"]).vectors.shape == (1, encoder.dimension)
    assert encoder.checkpoint.transform.size == (32, 32)

    assert read_recipe(folder / "recipe.toml") == recipe
    facts = json.loads((folder / "run.json").read_text())
    assert facts["pairs"] == 96
    assert facts["held_out"] == 24
    assert facts["torch"] == torch.__version__
    assert len(facts["data"]) == 32

    losses = [record["loss"] for record in records(folder, "train")]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    (evaluated,) = [record for record in heard if record["kind"] == "evaluate" and record["step"] == 12]
    assert 0 <= evaluated["validation text to picture recall@5 en"] <= 1
    assert evaluated["validation loss"] > 0
    assert json.loads((folder / "best.json").read_text())["by"] == "validation text to picture recall@5 en"
    assert list((folder / "tensorboard").iterdir())


def test_transformers_loads_what_was_trained(small_recipe, torchvision):
    from transformers import CLIPModel

    result = train(small_recipe())
    theirs = CLIPModel.from_pretrained(result.model).eval()
    ours = anmok.load_model(result.model)
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs.get_image_features(pixel_values=pixels)
        expected = getattr(expected, "pooler_output", expected)
        assert (ours.encode_image(pixels) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_chunks_train_as_one_batch(small_recipe, loss):
    whole = last(small_recipe("whole", loss__kind=loss))
    parts = last(small_recipe("parts", loss__kind=loss, run__batch_size=4, run__accum_freq=4))
    assert apart(weights(whole), weights(parts)) < 2e-4


def test_tiles_change_nothing(small_recipe):
    whole = last(small_recipe("whole"))
    tiled = last(small_recipe("tiled", loss__tile=5))
    assert apart(weights(whole), weights(tiled)) < 2e-4


# --- going on


def command(recipe, folder, *more):
    write_recipe(recipe, folder / "recipe-in.toml")
    return [sys.executable, "-m", "anmok", "train", str(folder / "recipe-in.toml"), "--json", *more]


def ends(group):
    """Whether every process of that group ends within half a minute."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_killed_run_goes_on_to_the_very_same_weights(small_recipe, tmp_path, ema):
    options = {"run__steps": 18, "run__ema": ema, "run__workers": 1 if ema else 0, "augment__mirror": 0.5}
    if ema:
        options |= SCRATCH | {"model__size": "tiny-resnet", "run__precision": "auto"}
    straight = last(small_recipe("straight", **options))
    killed = small_recipe("killed", **options)
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(
        command(killed, tmp_path, "--resume", "latest"),
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as run:
        for line in run.stdout:
            record = json.loads(line)
            if record["kind"] == "train" and record["step"] == 10:
                run.send_signal(signal.SIGKILL)
                break
    assert ends(run.pid), "what read pictures for the killed run is still there"
    folder = tmp_path / "killed"
    assert not (folder / "last").exists()
    assert sorted(path.name for path in (folder / "states").glob("*.pt"))[-1] == "step-00000008.pt"
    resumed = last(killed, resume="latest")
    assert apart(weights(straight), weights(resumed)) == 0
    assert (straight / "model.safetensors").exists() == (resumed / "model.safetensors").exists()
    told = [[(r["step"], r["loss"]) for r in records(model.parent, "train")] for model in (straight, resumed)]
    assert told[0] == told[1]


def test_the_model_that_was_started_from_is_kept_until_it_is_beaten(small_recipe):
    good = last(small_recipe("good", run__steps=30, optimizer__lr=3e-3))
    spoils = {"model__start": str(good), "optimizer__lr": 0.5, "optimizer__warmup": 0, "run__best": "validation loss"}
    spoiled = train(small_recipe("spoiled", **spoils))
    first, *_, end = records(spoiled.model.parent, "evaluate")
    assert first["step"] == 0
    assert first["validation loss"] < end["validation loss"]
    assert apart(weights(spoiled.model), weights(good)) == 0
    assert spoiled.numbers["validation loss"] == first["validation loss"]


def test_another_run_is_never_written_over(small_recipe, pairs_csv, tmp_path):
    recipe = small_recipe()
    train(recipe)
    with pytest.raises(StateError, match=r"holds a run already: go on with --resume latest"):
        train(recipe)
    with pytest.raises(StateError, match=r"16 pairs per step and not 8.*model.start"):
        train(small_recipe(run__batch_size=8), resume="latest")
    shutil.copytree(pairs_csv.parent, tmp_path / "other")
    with (tmp_path / "other" / "pairs.csv").open("a") as file:
        file.write("pictures/0000.png,another caption\n")
    with pytest.raises(StateError, match="trained on other data"):
        train(small_recipe(data__train=[str(tmp_path / "other" / "pairs.csv")]), resume="latest")
    again = train(recipe, resume="latest")  # finished already: nothing to do, the same result
    assert again.steps == 8


def test_a_finished_run_goes_on_for_more_steps(small_recipe):
    train(small_recipe(optimizer__lr_scheduler="const"))
    longer = train(small_recipe(optimizer__lr_scheduler="const", run__steps=12), resume="latest")
    straight = train(small_recipe("straight", optimizer__lr_scheduler="const", run__steps=12))
    assert apart(weights(longer.model.parent / "last"), weights(straight.model.parent / "last")) == 0


# --- what goes wrong


def test_a_loss_that_is_no_number_stops_and_names_the_step(small_recipe):
    with pytest.raises(
        Diverged, match=r"the loss is (nan|inf) at step \d+.*diverged.json.*lower optimizer.lr"
    ) as caught:
        train(small_recipe(optimizer__lr=1e30, optimizer__warmup=0, optimizer__scale_most=1e9, run__steps=50))
    folder = Path(small_recipe().run.output)
    told = json.loads((folder / "diverged.json").read_text())
    assert f"step {told['step']}" in str(caught.value)
    assert len(told["pairs"]) == 16
    assert not (folder / "last").exists()


def test_bad_pictures_are_left_out_counted_and_named(small_recipe, pairs_csv, tmp_path):
    shutil.copytree(pairs_csv.parent, tmp_path / "damaged")
    for i in range(0, 60, 3):
        (tmp_path / "damaged" / "pictures" / f"{i:04}.png").write_bytes(b"\x89PNG cut")
    (tmp_path / "damaged" / "pictures" / "0001.png").unlink()
    result = train(
        small_recipe(data__train=[str(tmp_path / "damaged" / "pairs.csv")], data__held_out=0.0, run__steps=14)
    )
    assert result.skipped["bad picture"] == 40  # 20 of them, seen in two epochs
    assert result.skipped["missing file"] == 2
    told = [json.loads(line) for line in (result.model.parent / "skipped.jsonl").read_text().splitlines()]
    assert len({record["pair"] for record in told}) == 21
    assert result.samples == 14 * 16


def test_one_class_alone_is_refused(small_recipe, pairs_csv, tmp_path):
    shutil.copytree(pairs_csv.parent / "pictures", tmp_path / "classes" / "only")
    with pytest.raises(RecipeError, match=r"say the same \('only'\).*two or more"):
        train(small_recipe(data__train=[str(tmp_path / "classes")], data__kind="folder"))
    table = tmp_path / "same.csv"
    table.write_text("filepath,title\n" + "".join(f"classes/only/{i:04}.png,a thing\n" for i in range(100)))
    with pytest.raises(RecipeError, match="say the same"):
        train(small_recipe(data__train=[str(table)]))
    assert not Path(small_recipe().run.output).exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"run__batch_size": 1000}, r"a step has 1000 pairs and there are 96"),
        (SCRATCH | {"model__size": "tiny-vitt"}, r"Did you mean 'tiny-vit'"),
        ({"model__start": ""}, r"name a size"),
        ({"data__train": []}, r"data.train is empty"),
        ({"run__device": "cuda:7"}, r"run.device 'cuda:7' cannot be used"),
        ({"loss__teacher_texts": "nowhere.npz"}, r"cannot be read"),
        (
            {"loss__teacher": "anmok-mini", "loss__teacher_kind": "cosine"},
            r"the teacher has 256",
        ),
        ({"run__best": "accuracy"}, r"run.best is 'accuracy'; measured were: validation loss"),
    ],
)
def test_what_cannot_be_run_is_told_with_the_way_out(small_recipe, options, message):
    with pytest.raises(RecipeError, match=message):
        train(small_recipe(**options))


# --- starting from another model, and learning from one


def test_a_locked_tower_does_not_change(small_recipe):
    start = train(small_recipe("first")).model
    for locked, learns in (("image", "text"), ("text", "image")):
        options = {"model__start": str(start), f"model__lock_{locked}": True}
        tuned = train(small_recipe(f"locked-{locked}", **options)).model
        before, after = weights(start), weights(tuned.parent / "last")
        for name in before:
            same = np.array_equal(before[name], after[name])
            assert same if name.startswith(f"{locked}.") else (not same or not name.startswith(f"{learns}.")), name


def test_a_locked_tower_keeps_its_running_statistics(small_recipe):
    options = {"model__start": "anmok-mini", "model__lock_image": True}
    tuned = train(small_recipe(run__steps=2, **options)).model
    before, after = weights("anmok-mini"), weights(tuned.parent / "last")
    assert np.array_equal(before["image.stem.norm1.running_mean"], after["image.stem.norm1.running_mean"])
    assert not np.array_equal(before["text.blocks.0.mlp.up.weight"], after["text.blocks.0.mlp.up.weight"])


def test_the_embedded_model_goes_on_at_another_size_and_with_the_other_loss(small_recipe):
    options = {"model__start": "anmok-mini", "model__image_size": 64, "loss__kind": "sigmoid"}
    tuned = load_checkpoint(train(small_recipe(run__steps=2, **options)).model)
    assert tuned.spec.image.image_size == 64
    assert tuned.transform.size == (64, 64)
    assert tuned.spec.score == "sigmoid"
    assert float(tuned.weights["logit_bias"]) == pytest.approx(-10, abs=0.1)


@pytest.mark.parametrize("kind", ["logits", "cosine", "relation"])
def test_a_student_stays_near_its_teacher(small_recipe, tiny_folder, pairs_csv, kind):
    texts = ["a red circle", "a blue star", "two green squares", "a ring"]
    pictures = sorted((pairs_csv.parent / "pictures").iterdir())[:6]

    def answers(model):
        encoder = anmok.load(model)
        words, seen = encoder.encode_text(texts).vectors, encoder.encode_image(pictures).vectors
        return {"cosine": words, "relation": words @ words.T, "logits": seen @ words.T}[kind]

    far = []
    for weight in (0.0, 30.0):
        options = {"loss__teacher": str(tiny_folder), "loss__teacher_kind": kind, "loss__teacher_weight": weight}
        student = train(small_recipe(f"w{weight}", optimizer__lr=3e-3, run__steps=16, **options)).model.parent / "last"
        far.append(np.abs(answers(student) - answers(tiny_folder)).mean())
    assert far[1] < 0.7 * far[0]


def test_the_vectors_of_a_text_encoder_teach_the_texts(small_recipe, pairs_csv, tmp_path):
    """A text encoder that knows colors only: afterwards texts of one color are nearer to each other."""
    texts = sorted({line.split(",", 1)[1].strip() for line in pairs_csv.read_text().splitlines()[1:]})
    color = np.array([[name in text.split() for name in COLORS] for text in texts], np.float32) + 0.01
    np.savez(tmp_path / "texts.npz", names=np.array(texts), vectors=color)
    same = (color @ color.T > 0.5)[np.triu_indices(len(texts), 1)]

    def contrast(**options):
        model = train(small_recipe(optimizer__lr=5e-3, run__steps=30, data__captions="first", **options)).model
        own = anmok.load(model.parent / "last").encode_text(texts).vectors
        cosines = (own @ own.T)[np.triu_indices(len(texts), 1)]
        return cosines[same].mean() - cosines[~same].mean()

    taught = contrast(output="taught", loss__teacher_texts=str(tmp_path / "texts.npz"), loss__teacher_weight=10.0)
    assert taught > contrast(output="plain") + 0.1


# --- many processes


@pytest.mark.parametrize(("parallel", "loss"), [("ddp", "softmax"), ("ddp", "sigmoid"), ("fsdp", "softmax")])
def test_two_processes_train_as_one(small_recipe, tmp_path, parallel, loss):
    alone = last(small_recipe("alone", loss__kind=loss))
    together = small_recipe("together", loss__kind=loss, run__batch_size=8, run__parallel=parallel)
    write_recipe(together, tmp_path / "recipe.toml")
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "anmok", "train",
         str(tmp_path / "recipe.toml")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stderr.count("The model is in") == 1  # one process speaks
    assert apart(weights(alone), weights(tmp_path / "together" / "last")) < 2e-4
    told = [[r["loss"] for r in records(folder, "train")] for folder in (alone.parent, tmp_path / "together")]
    np.testing.assert_allclose(told[0], told[1], atol=2e-3)
