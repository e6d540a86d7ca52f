"""A training recipe: every choice of a run, as data. TOML on disk, frozen dataclasses in memory.

Defaults live here and nowhere else. `recipe.toml` in the folder of a run holds all of them, so that it can be run
again. Names follow open_clip where it has the same thing (`lr`, `wd`, `warmup`, `accum_freq`, `lock_image` …).
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from anmok.errors import AnmokError, did_you_mean

__all__ = [
    "PRECISIONS",
    "SCHEDULES",
    "AugmentConfig",
    "DataConfig",
    "LossConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Recipe",
    "RecipeError",
    "RunConfig",
    "read_recipe",
    "recipe_from_dict",
    "recipe_text",
    "with_options",
    "write_recipe",
]


class RecipeError(AnmokError):
    """A recipe cannot be used; every problem is named."""


@dataclass(frozen=True)
class ModelConfig:
    """What is trained. Either `size`, from scratch, or `start`, from a checkpoint."""

    size: str = ""  # a name of anmok.models.sizes: "tiny-resnet", "ViT-B-32" …
    start: str = ""  # a checkpoint that anmok.load knows: built-in name, folder, hub id
    tokenizer: str = "train"  # with `size`: "train" (one for your captions), "clip", or a folder that holds one
    vocabulary: int = 8192  # at most so many pieces in a trained tokenizer
    image_size: int = 0  # side in pixels; 0 keeps the model's own
    dimension: int = 0  # of the shared space, with `size`; 0 keeps the size's own
    resize: str = "squash"  # with `size`: "squash" keeps the whole picture, "shortest" crops its middle
    lock_image: bool = False  # LiT (Zhai et al. 2022, arXiv 2111.07991): the picture tower stays as it is
    lock_image_unlocked_groups: int = 0  # … but for its last groups of layers
    lock_text: bool = False  # the same for the text tower
    lock_text_unlocked_layers: int = 0  # … but for its last layers


@dataclass(frozen=True)
class DataConfig:
    """What it is trained on, and what it is measured on while it trains."""

    train: tuple[str, ...] = ()  # shards, tables, folders, saved pages; see `anmok.pairs`
    shares: tuple[float, ...] = ()  # how often each entry of `train` is drawn from; none: each as it is large
    validation: tuple[str, ...] = ()  # pairs for the numbers during training
    held_out: float = 0.02  # without `validation`: this share of `train` is kept apart for them, at most 2,000 pairs
    evaluate: tuple[str, ...] = ()  # more sets, measured as `anmok evaluate` does
    kind: str = "auto"  # "shards", "table", "folder", "huggingface", "pages", "warc"; auto: by name and content
    image_key: str = "filepath"  # tables: the column of the picture's path
    text_key: str = "title"  # tables: the column of the text
    separator: str = "\t"  # tables: between columns
    encoding: str = "utf-8"  # of tables and text files
    templates: str = "small"  # around the names of classes
    captions: str = "random"  # which text of a picture: "random" at each step, or "first"
    window: int = 64  # shards that are shuffled together


@dataclass(frozen=True)
class AugmentConfig:
    """How a training picture is varied. The defaults are open_clip's: only a crop of at least 0.9 of the area."""

    scale: tuple[float, float] = (0.9, 1.0)  # share of the area that is kept
    ratio: tuple[float, float] = (3 / 4, 4 / 3)  # of width to height, beside the picture's own
    mirror: float = 0.0  # probability; wrong where captions say left and right, or pictures hold text
    turn: float = 0.0  # up to so many degrees either way
    color: float = 0.0  # strength of changes of brightness, contrast and saturation, 0 to 1
    gray: float = 0.0  # probability of no color
    erase: float = 0.0  # probability that a gray patch hides a part (Zhong et al. 2017, arXiv 1708.04896)
    only: tuple[str, ...] = ()  # sources (`source` of a pair) whose pictures are varied; none named: all


@dataclass(frozen=True)
class LossConfig:
    """What is minimized."""

    kind: str = "auto"  # "softmax" (CLIP), "sigmoid" (SigLIP); "auto": as the model was trained, else softmax
    positives: str = "text"  # which pairs of a batch are true: "own" only, of equal "text", or of equal "label"
    tile: int = 0  # rows of the logits held at once; 0: all of them
    teacher: str = ""  # a checkpoint to distill from
    teacher_texts: str = ""  # or the vectors of texts by any text encoder: an .npz of `anmok embed` (names, vectors)
    teacher_pictures: str = ""  # and/or those of pictures by any encoder: the same, by the names of the pairs
    teacher_kind: str = "auto"  # "logits", "cosine" (equal dimension), "relation" (any dimension)
    teacher_weight: float = 1.0  # of its part of the loss


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) and its schedule."""

    lr: float = 5e-4  # the highest learning rate
    wd: float = 0.1  # weight decay, of matrices and kernels
    beta1: float = 0.9  # of the mean of gradients
    beta2: float = 0.98  # of the mean of their squares
    eps: float = 1e-6  # keeps the division by it finite
    warmup: int = 200  # steps
    lr_scheduler: str = "cosine"  # or "const", "const-cooldown"
    epochs_cooldown: float = 1.0  # const-cooldown: the last epochs, falling
    lr_cooldown_end: float = 0.0  # const-cooldown: the rate at the end
    lr_cooldown_power: float = 1.0  # const-cooldown: the shape of the fall, 1 a line
    layer_decay: float = 1.0  # factor of the rate per layer from the head down (Clark et al. 2020, arXiv 2003.10555)
    grad_clip_norm: float = 1.0  # 0: none
    scale_most: float = 100.0  # the temperature's inverse is clamped to this


@dataclass(frozen=True)
class RunConfig:
    """How long, how, and where to."""

    output: str = "runs/model"  # the folder of the run
    epochs: float = 10.0  # times that every pair is seen
    steps: int = 0  # instead of `epochs`
    batch_size: int = 128  # pairs per process that are encoded at once, as in open_clip
    accum_freq: int = 1  # a step has so many of them; gradients are those of the whole (gradient caching)
    precision: str = "auto"  # "fp32", "amp_bf16", "amp_fp16"; auto: bf16 where the machine computes in it, else fp32
    ema: float = 0.0  # decay of a moving average of the weights, which is then what is measured and kept; 0: none
    grad_checkpointing: bool = False  # less memory, more time
    parallel: str = "ddp"  # with torchrun: "ddp", or "fsdp" for a model that does not fit
    workers: int = -1  # processes that read pictures; -1: as the machine suggests; 0: none
    seed: int = 0  # of everything that is random
    device: str = "auto"  # "cpu", "cuda"; auto: a GPU where there is one
    log_every: int = 10  # steps between lines of the log
    save_every: int = 500  # steps between saved states
    evaluate_every: int = 0  # steps between measurements of the held-out pairs; 0: once an epoch
    keep: int = 2  # saved states that are kept
    best: str = ""  # the number by which the best model is kept; "": retrieval of the validation pairs


@dataclass(frozen=True)
class Recipe:
    """A whole run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self) -> None:
        """Refuse what cannot be run, with all problems in one error."""
        if problems := _problems(self):
            raise RecipeError("the recipe cannot be used: " + "; ".join(problems))


SCHEDULES = ("cosine", "const", "const-cooldown")
PRECISIONS = {"auto": "auto", "fp32": "fp32", "amp_bf16": "amp_bf16", "amp_fp16": "amp_fp16"}
PRECISIONS |= {"amp": "amp_fp16", "amp_bfloat16": "amp_bf16"}  # open_clip's words
CHOICES: dict[str, tuple[str, ...]] = {
    "model.resize": ("squash", "shortest"),
    "data.captions": ("random", "first"),
    "loss.kind": ("auto", "softmax", "sigmoid"),
    "loss.positives": ("own", "text", "label"),
    "loss.teacher_kind": ("auto", "logits", "cosine", "relation"),
    "optimizer.lr_scheduler": SCHEDULES,
    "run.precision": tuple(PRECISIONS),
    "run.parallel": ("ddp", "fsdp"),
}
AT_LEAST: dict[str, float] = {
    "model.vocabulary": 300, "model.image_size": 0, "model.dimension": 0, "model.lock_image_unlocked_groups": 0,
    "model.lock_text_unlocked_layers": 0, "data.held_out": 0, "data.window": 1, "augment.mirror": 0,
    "augment.turn": 0, "augment.color": 0, "augment.gray": 0, "augment.erase": 0, "loss.tile": 0,
    "loss.teacher_weight": 0, "optimizer.lr": 0, "optimizer.wd": 0, "optimizer.eps": 0, "optimizer.warmup": 0,
    "optimizer.epochs_cooldown": 0, "optimizer.lr_cooldown_end": 0, "optimizer.lr_cooldown_power": 0,
    "optimizer.grad_clip_norm": 0, "optimizer.scale_most": 1, "run.epochs": 0, "run.steps": 0, "run.batch_size": 1,
    "run.accum_freq": 1, "run.ema": 0, "run.workers": -1, "run.log_every": 1, "run.save_every": 1,
    "run.evaluate_every": 0, "run.keep": 1, "run.seed": 0,
}  # fmt: skip
AT_MOST: dict[str, float] = {
    "data.held_out": 0.5, "augment.mirror": 1, "augment.turn": 180, "augment.color": 1, "augment.gray": 1,
    "augment.erase": 1, "optimizer.beta1": 0.9999, "optimizer.beta2": 0.99999, "optimizer.layer_decay": 1,
    "run.ema": 0.99999,
}  # fmt: skip


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe from a TOML file.

    Raises:
        RecipeError: it cannot be read, or keys or values are wrong; all of them are named.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such recipe") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path} cannot be read as TOML: {error}") from error
    return recipe_from_dict(values, where=str(path))


def recipe_from_dict(values: dict[str, Any], *, where: str = "recipe") -> Recipe:
    """A recipe from nested dictionaries, as TOML gives them.

    Raises:
        RecipeError: keys or values are wrong; all of them are named.
    """
    sections = {one.name: one.default_factory for one in fields(Recipe)}
    problems: list[str] = []
    built: dict[str, Any] = {}
    for name, content in values.items():
        if not isinstance(content, dict):
            problems.append(f"{name} stands outside its section; sections are {', '.join(sections)}")
        elif name not in sections:
            problems.append(f"[{name}] is not a section.{did_you_mean(name, sections)}")
        else:
            built[name] = _section(sections[name], content, name, problems)  # type: ignore[arg-type]
    if problems:
        raise RecipeError(f"{where}: " + "; ".join(problems))
    try:
        return Recipe(**built)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error}") from None


def with_options(recipe: Recipe, options: dict[str, Any]) -> Recipe:
    """A recipe with some values changed, named as "section.key".

    Raises:
        RecipeError: a key is unknown, or a value wrong.
    """
    values = asdict(recipe)
    for key, value in options.items():
        section, _, name = key.partition(".")
        if section not in values or name not in values[section]:
            known = [f"{outer}.{inner}" for outer, part in values.items() for inner in part]
            raise RecipeError(f"{key} is not an option.{did_you_mean(key, known)}")
        values[section][name] = value
    return recipe_from_dict(values)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write every value, defaults too, as TOML."""
    path.write_text(recipe_text(recipe), encoding="utf-8")


def recipe_text(recipe: Recipe) -> str:
    """Every value, defaults too, as TOML."""
    import tomli_w

    return tomli_w.dumps(
        {
            section: {key: list(value) if isinstance(value, tuple) else value for key, value in part.items()}
            for section, part in asdict(recipe).items()
        }
    )


def _section(kind: type, content: dict[str, Any], name: str, problems: list[str]) -> Any:
    hints = get_type_hints(kind)
    good: dict[str, Any] = {}
    for key, value in content.items():
        if key not in hints:
            problems.append(f"{name}.{key} is not an option.{did_you_mean(key, hints)}")
            continue
        try:
            good[key] = _value(hints[key], value)
        except ValueError as error:
            problems.append(f"{name}.{key} is {value!r}, expected {error}")
    return replace(kind(), **good)


def _value(hint: Any, value: Any) -> Any:
    """`value` as `hint` asks for it; ValueError says what was expected."""
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        items = [value] if isinstance(value, str | int | float) and Ellipsis in inner else value
        if not isinstance(items, list | tuple) or (Ellipsis not in inner and len(items) != len(inner)):
            raise ValueError("a list" if Ellipsis in inner else f"{len(inner)} numbers")
        return tuple(_value(inner[0], item) for item in items)
    if hint is float and type(value) in (int, float):
        return float(value)
    if type(value) is not hint:
        raise ValueError({str: "a text", bool: "true or false", int: "a whole number", float: "a number"}[hint])
    return value


def _problems(recipe: Recipe) -> list[str]:
    values = {f"{s}.{k}": v for s, part in asdict(recipe).items() for k, v in part.items()}
    problems = [
        f"{key} is {values[key]!r}, expected one of {', '.join(known)}.{did_you_mean(values[key], known)}"
        for key, known in CHOICES.items()
        if values[key] not in known
    ]
    problems += [
        f"{key} is {values[key]}, expected at least {low:g}" for key, low in AT_LEAST.items() if values[key] < low
    ]
    problems += [
        f"{key} is {values[key]}, expected at most {high:g}" for key, high in AT_MOST.items() if values[key] > high
    ]
    model, data, loss, run = recipe.model, recipe.data, recipe.loss, recipe.run
    low, high = recipe.augment.scale
    unlocked = model.lock_image_unlocked_groups or model.lock_text_unlocked_layers
    rules = [
        (bool(model.size and model.start), "model.size trains from scratch, model.start from a checkpoint: give one"),
        (len(data.shares) not in (0, len(data.train)), "data.shares needs one number for each entry of data.train"),
        (any(share <= 0 for share in data.shares), "data.shares must be above 0"),
        (not 0 < low <= high <= 1, f"augment.scale is {low:g} to {high:g}, expected two shares of the area, 0 to 1"),
        (min(recipe.augment.ratio) <= 0, "augment.ratio must be above 0"),
        (recipe.optimizer.layer_decay <= 0, "optimizer.layer_decay must be above 0"),
        (run.steps == 0 and run.epochs == 0, "give run.epochs or run.steps"),
        (model.lock_image and model.lock_text and not unlocked, "with both towers locked nothing is left to train"),
        (
            bool(loss.teacher and (loss.teacher_texts or loss.teacher_pictures)),
            "give loss.teacher, or loss.teacher_texts and loss.teacher_pictures, not both",
        ),
    ]
    return problems + [text for broken, text in rules if broken]
