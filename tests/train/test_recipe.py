import dataclasses
from pathlib import Path

import pytest

from anmok.train.recipe import (
    AugmentConfig,
    Recipe,
    RecipeError,
    read_recipe,
    recipe_from_dict,
    with_options,
    write_recipe,
)


def test_a_recipe_comes_back_from_disk_as_it_was(tmp_path):
    recipe = with_options(Recipe(), {"data.train": ["a", "b"], "data.shares": [1, 2.5], "augment.mirror": 0.5})
    write_recipe(recipe, tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml") == recipe
    written = (tmp_path / "recipe.toml").read_text()
    for section in dataclasses.fields(Recipe):  # every default is written down
        for one in dataclasses.fields(getattr(recipe, section.name)):
            assert f"{one.name} = " in written


def test_every_problem_is_named_at_once_with_the_nearest_name():
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(
            {"optimiser": {}, "run": {"batchsize": 3, "epochs": "ten"}, "augment": {"scale": [0.5]}, "lr": 1}
        )
    message = str(caught.value)
    for part in (
        "[optimiser] is not a section. Did you mean 'optimizer'?",
        "run.batchsize is not an option. Did you mean 'batch_size'?",
        "run.epochs is 'ten', expected a number",
        "augment.scale is [0.5], expected 2 numbers",
        "lr stands outside its section",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss.kind": "sigmiod"}, "Did you mean 'sigmoid'"),
        ({"run.batch_size": 0}, "run.batch_size is 0, expected at least 1"),
        ({"data.held_out": 0.7}, "expected at most 0.5"),
        ({"model.size": "tiny-vit", "model.start": "x"}, "give one"),
        ({"augment.scale": [0.9, 0.5]}, "augment.scale is 0.9 to 0.5"),
        ({"augment.scale": [0.0, 0.5]}, "augment.scale"),
        ({"data.train": ["a"], "data.shares": [1, 2]}, "one number for each entry"),
        ({"data.train": ["a"], "data.shares": [0]}, "above 0"),
        ({"run.epochs": 0}, "give run.epochs or run.steps"),
        ({"model.lock_image": True, "model.lock_text": True}, "nothing is left to train"),
        ({"loss.teacher": "a", "loss.teacher_texts": "b"}, "not both"),
        ({"optimizer.lrr": 1}, "Did you mean 'optimizer.lr'"),
        ({"run.device": 3}, "expected a text"),
        ({"run.ema": True}, "expected a number"),
    ],
)
def test_what_cannot_be_run_is_refused(options, message):
    with pytest.raises(RecipeError, match=message.replace("(", r"\(")):
        with_options(Recipe(), options)


def test_a_single_value_stands_for_a_list_of_one():
    assert with_options(Recipe(), {"data.train": "pairs.csv"}).data.train == ("pairs.csv",)


@pytest.mark.parametrize("content", ["run = [", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError, match=r"recipe.toml cannot be read as TOML"):
        read_recipe(path)
    with pytest.raises(RecipeError, match="no such recipe"):
        read_recipe(tmp_path / "other.toml")


def test_whole_numbers_may_stand_for_numbers():
    assert with_options(Recipe(), {"run.epochs": 3}).run.epochs == 3.0
    assert isinstance(AugmentConfig().scale, tuple)


def test_the_reference_lists_every_key():
    page = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    recipes = page.split("## Recipes")[1].split("\n## ")[0]
    for section in dataclasses.fields(Recipe):
        part = recipes.split(f"`[{section.name}]`")[1].split("\n`[")[0]
        listed = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert listed == [one.name for one in dataclasses.fields(section.default_factory)], section.name
