"""`anmok train`: flags, recipes, output and exit status."""

from __future__ import annotations

import json
import tomllib

import pytest
from click.testing import CliRunner
from typer.main import get_command

from anmok.cli.app import app
from anmok.cli.train import FLAGS
from anmok.train.recipe import Recipe, read_recipe, with_options

SMALL = (
    "--model", "tiny-vit", "--force-image-size", 32, "--batch-size", 8, "--workers", 0, "--csv-separator", ",",
    "--set", "run.steps=4", "--set", "run.log_every=2", "--set", "model.vocabulary=400", "--set", "data.held_out=0.2",
)  # fmt: skip


def test_every_flag_sets_a_key_that_a_recipe_has():
    for flag in FLAGS:
        section, name = flag.key.split(".")
        assert hasattr(getattr(Recipe(), section), name), flag


def test_flags_of_open_clip_mean_the_same_here():
    theirs = pytest.importorskip("open_clip_train.params")
    import contextlib
    import io

    shown = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(shown):
        theirs.parse_args(["--help"])
    ours = {"output"}  # the only one that open_clip has under other names (--logs, --name)
    unknown = [flag.name for flag in FLAGS if f"--{flag.name} " not in shown.getvalue() + " " and flag.name not in ours]
    assert unknown == []


def test_help_lists_the_flags():
    text = CliRunner().invoke(get_command(app), ["train", "--help"], env={"COLUMNS": "200"}).output
    for flag in FLAGS:
        assert f"--{flag.name}" in text


def test_a_run_from_flags_prints_records_and_the_model(anmok, pairs_csv, tmp_path):
    run = anmok("train", "--train-data", pairs_csv, *SMALL, "--output", tmp_path / "run", "--json")
    assert run.status == 0, run.err
    kinds = [record.get("kind") for record in run.records]
    assert kinds[0] == "start"
    assert kinds.count("train") == 2
    assert run.records[-1]["model"] == str(tmp_path / "run" / "model")
    used = anmok(
        "classify",
        pairs_csv.parent / "pictures" / "0000.png",
        "-l",
        "a star,a ring",
        "-m",
        tmp_path / "run" / "model",
        "--json",
    )
    assert used.status == 0
    assert used.records[0]["predictions"]


def test_people_see_loss_temperature_speed_and_what_is_left(anmok, pairs_csv, tmp_path):
    run = anmok("train", "--train-data", pairs_csv, *SMALL, "--output", tmp_path / "run")
    assert run.status == 0
    assert run.out == ""
    for part in (
        "96 pairs, 24 held out; 4 steps of 8",
        "loss ",
        "scale 14",
        "pairs/s",
        "left",
        "recall@5",
        "anmok classify",
    ):
        assert part in run.err


def test_a_recipe_is_changed_by_flags(anmok, pairs_csv, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        f"[data]\ntrain = ['{pairs_csv}']\nheld_out = 0.2\n[model]\nsize = 'tiny-vit'\nimage_size = 32\n"
        f"vocabulary = 400\n[run]\nsteps = 2\nbatch_size = 8\nworkers = 0\noutput = '{tmp_path / 'run'}'\n"
        "[optimizer]\nlr = 0.5\n"
    )
    run = anmok(
        "train", tmp_path / "recipe.toml", "--lr", "1e-4", "--siglip", "--set", "augment.scale=[0.5, 1.0]", "--json"
    )
    assert run.status == 0, run.err
    used = read_recipe(tmp_path / "run" / "recipe.toml")
    assert used.optimizer.lr == 1e-4
    assert used.loss.kind == "sigmoid"
    assert used.augment.scale == (0.5, 1.0)
    assert used == with_options(
        read_recipe(tmp_path / "recipe.toml"),
        {"optimizer.lr": 1e-4, "loss.kind": "sigmoid", "augment.scale": [0.5, 1.0]},
    )


def test_the_whole_recipe_can_be_looked_at(anmok, tmp_path):
    run = anmok("train", "--lr", "0.25", "--output", tmp_path / "run", "--print-recipe")
    assert run.status == 0
    assert tomllib.loads(run.out)["optimizer"]["lr"] == 0.25
    assert not (tmp_path / "run").exists()


def test_bad_pictures_end_with_status_1_and_are_named(anmok, pairs_csv, tmp_path):
    import shutil

    shutil.copytree(pairs_csv.parent, tmp_path / "damaged")
    for i in range(40):
        (tmp_path / "damaged" / "pictures" / f"{i:04}.png").write_bytes(b"cut")
    run = anmok("train", "--train-data", tmp_path / "damaged" / "pairs.csv", *SMALL, "--output", tmp_path / "run")
    assert run.status == 1
    assert "bad picture; each is named in" in run.err
    told = json.loads((tmp_path / "run" / "skipped.jsonl").read_text().splitlines()[0])
    assert told["kind"] == "bad picture"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "run.step=3"], "run.step is not an option. Did you mean 'run.steps'"),
        (["--set", "run.steps"], "expected KEY=VALUE"),
        (["--precision", "bf61"], "run.precision is 'bf61', expected one of"),
        (["nowhere.toml"], "there is no such recipe"),
        (["--train-data", "nowhere.csv", "--model", "tiny-vit"], "nowhere.csv"),
    ],
)
def test_mistakes_are_one_line_with_the_way_out(anmok, arguments, message, tmp_path):
    run = anmok("train", *arguments, "--output", tmp_path / "run")
    assert run.status == 2
    assert message in run.err
    assert "Traceback" not in run.err
    assert not (tmp_path / "run").exists()
