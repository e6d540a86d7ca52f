"""`anmok train`."""

from __future__ import annotations

import inspect
import os
import tomllib
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_origin, get_type_hints

import typer

from anmok.cli.output import emit, finish, say, show_progress
from anmok.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from anmok.train.recipe import Recipe

__all__ = ["train"]


class Flag(NamedTuple):
    """A flag, the key of a recipe that it sets, and what `--help` says."""

    name: str
    key: str
    help: str


# Names and meanings are open_clip's wherever it has the same thing.
FLAGS = (
    Flag("train-data", "data.train", "Shards (shards/{00..09}.tar), a CSV, a folder of classes, or saved web pages."),
    Flag("val-data", "data.validation", "Pairs for the numbers during training; without, 2% are kept apart."),
    Flag("dataset-type", "data.kind", "auto, shards, table, folder, huggingface, pages, warc."),
    Flag("csv-img-key", "data.image_key", "Column of the picture's path."),
    Flag("csv-caption-key", "data.text_key", "Column of the text."),
    Flag("csv-separator", "data.separator", "Between columns."),
    Flag("model", "model.size", "Train from scratch: tiny-resnet, tiny-vit, ViT-B-32 …"),
    Flag("pretrained", "model.start", "Or start from a checkpoint: anmok-mini, a folder, a hub id."),
    Flag("force-image-size", "model.image_size", "Side of the pictures, pixels."),
    Flag("lock-image", "model.lock_image", "Leave the picture tower as it is (LiT)."),
    Flag("lock-image-unlocked-groups", "model.lock_image_unlocked_groups", "… but for its last groups of layers."),
    Flag("lock-text", "model.lock_text", "Leave the text tower as it is."),
    Flag("lock-text-unlocked-layers", "model.lock_text_unlocked_layers", "… but for its last layers."),
    Flag("epochs", "run.epochs", "Times that every pair is seen."),
    Flag("batch-size", "run.batch_size", "Pairs per process that are encoded at once."),
    Flag("accum-freq", "run.accum_freq", "A step has so many batches; gradients are those of all of them together."),
    Flag("lr", "optimizer.lr", "Highest learning rate."),
    Flag("wd", "optimizer.wd", "Weight decay."),
    Flag("beta1", "optimizer.beta1", "Of AdamW."),
    Flag("beta2", "optimizer.beta2", "Of AdamW."),
    Flag("eps", "optimizer.eps", "Of AdamW."),
    Flag("warmup", "optimizer.warmup", "Steps until the highest rate."),
    Flag("lr-scheduler", "optimizer.lr_scheduler", "cosine, const or const-cooldown."),
    Flag("epochs-cooldown", "optimizer.epochs_cooldown", "const-cooldown: the last epochs, falling."),
    Flag("lr-cooldown-end", "optimizer.lr_cooldown_end", "const-cooldown: the rate at the end."),
    Flag("lr-cooldown-power", "optimizer.lr_cooldown_power", "const-cooldown: the shape of the fall."),
    Flag("grad-clip-norm", "optimizer.grad_clip_norm", "Gradients are clipped to this norm; 0: not."),
    Flag("precision", "run.precision", "auto, fp32, amp_bf16 or amp (fp16)."),
    Flag("grad-checkpointing", "run.grad_checkpointing", "Less memory, more time."),
    Flag("workers", "run.workers", "Processes that read pictures; -1: as the machine suggests."),
    Flag("seed", "run.seed", "Of everything that is random."),
    Flag("device", "run.device", "auto, cpu, cuda."),
    Flag("output", "run.output", "Folder of the run; the model is in its folder model/."),
)


def train(
    recipe: Annotated[
        Path | None, typer.Argument(metavar="[RECIPE]", help="A recipe.toml; flags change it.", show_default=False)
    ] = None,
    resume: Annotated[
        str | None, typer.Option(help='"latest", or the name of a saved state: go on.', show_default=False)
    ] = None,
    siglip: Annotated[bool, typer.Option("--siglip", help="The sigmoid loss of SigLIP.")] = False,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of a recipe: --set augment.mirror=0.5"),
    ] = None,
    print_recipe: Annotated[
        bool, typer.Option("--print-recipe", help="Print the whole recipe, as TOML, and do nothing else.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
    **flags: Any,
) -> None:
    """Train a model on your own pairs of pictures and texts.

    What it makes is used at once: `anmok classify --model FOLDER/model`.

    \b
    anmok train --train-data pairs.csv --model tiny-resnet --epochs 20 --output runs/first
    anmok train recipe.toml --resume latest
    torchrun --nproc-per-node 8 -m anmok train recipe.toml
    """
    try:
        from anmok.train.loop import train as run
        from anmok.train.recipe import Recipe, read_recipe, recipe_text, with_options
    except ImportError as error:
        raise MissingExtra(error.name or "torch", "train", "training") from error
    changed = {flag.key: flags[flag.name.replace("-", "_")] for flag in FLAGS}
    changed = {key: value for key, value in changed.items() if value is not None}
    if siglip:
        changed["loss.kind"] = "sigmoid"
    changed |= dict(_assignment(option) for option in options or [])
    chosen = with_options(read_recipe(recipe) if recipe else Recipe(), changed)
    if print_recipe:
        typer.echo(recipe_text(chosen), nl=False)
        return
    if os.environ.get("RANK", "0") != "0":  # of the processes that torchrun starts, one speaks
        run(chosen, resume=resume)
        return
    with show_progress():
        result = run(chosen, resume=resume, listener=_show(json=json, recipe=chosen))
    if json:
        emit({"model": str(result.model), "steps": result.steps, "pairs": result.samples, **result.numbers})
    else:
        say(f"\nThe model is in {result.model}: anmok classify PICTURES --labels a,b,c --model {result.model}")
        if result.skipped:
            counted = ", ".join(f"{count} {kind}" for kind, count in sorted(result.skipped.items()))
            say(f"Left out: {counted}; each is named in {result.model.parent / 'skipped.jsonl'}")
    finish(sum(result.skipped.values()))


def _with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command one option per flag, with the type that its key has in a recipe."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    extra = []
    for flag in FLAGS:
        kind = _type_of(flag.key)
        name = f"--{flag.name}" if kind is not bool else f"--{flag.name}/--no-{flag.name}"
        annotation = Annotated[kind | None, typer.Option(name, help=flag.help, show_default=False)]  # type: ignore[valid-type]
        extra.append(
            inspect.Parameter(
                flag.name.replace("-", "_"), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )
    keyword_only = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own[1:]]
    command.__signature__ = signature.replace(parameters=[own[0], *keyword_only, *extra])  # type: ignore[attr-defined]
    return command


def _type_of(key: str) -> Any:
    section, _, name = key.partition(".")
    hint = _types(section)[name]
    return list[str] if get_origin(hint) is tuple else hint


@cache  # every command waits for it
def _types(section: str) -> dict[str, Any]:
    from anmok.train.recipe import Recipe

    return get_type_hints(next(one.default_factory for one in fields(Recipe) if one.name == section))


def _assignment(option: str) -> tuple[str, Any]:
    """`section.key=value`, the value as TOML; what is no TOML is a text."""
    key, equals, text = option.partition("=")
    if not equals:
        raise SettingsError(f"--set {option}: expected KEY=VALUE, for instance --set augment.mirror=0.5")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text


def _show(*, json: bool, recipe: Recipe) -> Callable[[dict[str, Any]], None]:
    """Print a record of the log: a line for people, or JSON."""

    def show(record: dict[str, Any]) -> None:
        if json:
            emit(record)
            return
        kind, step = record["kind"], record["step"]
        if kind == "start":
            if record["problems"]:
                counted = ", ".join(f"{count:,} {name}" for name, count in record["problems"].items())
                say(f"left out when the data was opened: {counted}")
            whole = "" if recipe.run.accum_freq == 1 else f" in {recipe.run.accum_freq} batches"
            say(
                f"{record['pairs']:,} pairs, {record['held_out']:,} held out; {record['steps']:,} steps of "
                f"{record['pairs_per_step']:,}{whole}; {record['trained'] / 1e6:.1f} of "
                f"{record['parameters'] / 1e6:.1f} million weights learn; {record['device']}, {record['precision']}"
            )
        elif kind == "train":
            say(
                f"step {step:>6}  epoch {record['epoch']:6.2f}  loss {record['loss']:.4f}  "
                f"scale {record['scale']:.2f}  lr {record['lr']:.2e}  "
                f"{record['pairs_per_s']:,.0f} pairs/s  {_clock(record['left_s'])} left"
            )
        elif kind == "evaluate":
            shown = [f"{name} {value:.3f}" for name, value in record.items() if isinstance(value, float)]
            say("\n".join(f"  {line}" for line in shown))

    return show


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


_with_flags(train)
