"""Every choice of tuning, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from anmok.errors import AnmokError
from anmok.train.recipe import AugmentConfig

__all__ = ["PromptSettings", "TowerSettings", "TuneError"]


class TuneError(AnmokError):
    """A model cannot be tuned with what was given; every problem is named."""


@dataclass(frozen=True)
class TowerSettings:
    """What of the towers is trained on examples of classes, and how.

    Rank, maps, dropout, schedule and batch are CLIP-LoRA's (Zanella and Ben Ayed 2024, arXiv 2405.18541: rank 2 for
    query, key and value of every layer, dropout 0.25, half a cosine, 32 pictures); convolutions join them, since a
    convolutional tower has hardly anything else. The paper takes 500 steps for each example of a class at 2e-4; here
    there are few steps, for patience on a processor, and so the rate is higher.
    """

    method: Literal["lora", "full", "last"] = "lora"  # low-rank changes, everything, the last groups of layers
    image: bool = True  # whether the picture tower trains; False locks it (LiT, arXiv 2111.07991)
    text: bool = True  # whether the text tower trains
    last: int = 2  # "last": so many groups of layers of each tower, the head counts as one
    maps: tuple[str, ...] = ("q", "k", "v", "conv")  # "lora": of which maps (`anmok.models.modules.lora.MAPS`)
    rank: int = 2
    alpha: float = 2.0  # "lora": changes are scaled by alpha / rank
    dropout: float = 0.25  # "lora": of the inputs of a change
    steps: int = 200
    batch_size: int = 32  # pictures of a step, at most as many as there are
    lr: float = 0.0  # the highest learning rate; 0: 2e-3 for "lora", 1e-4 for the others
    wd: float = 0.01  # weight decay, of matrices and kernels
    warmup: int = 0  # steps
    texts_per_step: int = 1  # texts of each class that a step encodes, drawn anew each time; 0: all of them
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(scale=(0.6, 1.0)))
    precision: str = "auto"  # as in a training recipe: "fp32", "amp_bf16"
    device: str = "auto"
    save_every: int = 50  # steps between saved states, where there is a folder for them

    def __post_init__(self) -> None:
        """Refuse what cannot be run, with all problems in one error."""
        rules = [
            (self.method not in ("lora", "full", "last"), f"method is {self.method!r}: lora, full or last"),
            (not (self.image or self.text), "with both towers locked nothing is left to train"),
            (self.method == "lora" and not self.maps, "lora needs at least one kind of map"),
            (min(self.last, self.rank, self.batch_size, self.save_every) < 1, "last, rank, batch_size, save_every < 1"),
            (min(self.steps, self.warmup, self.texts_per_step) < 0, "steps, warmup or texts_per_step is negative"),
            (not 0 <= self.dropout < 1, f"dropout is {self.dropout:g}, expected 0 to 1"),
            (min(self.lr, self.wd, self.alpha) < 0, "lr, wd or alpha is negative"),
            (self.precision not in ("auto", "fp32", "amp_bf16"), f"precision is {self.precision!r}"),
        ]
        if problems := [text for broken, text in rules if broken]:
            raise TuneError("the settings cannot be used: " + "; ".join(problems))

    @property
    def rate(self) -> float:
        """The highest learning rate."""
        return self.lr or (2e-3 if self.method == "lora" else 1e-4)


@dataclass(frozen=True)
class PromptSettings:
    """How the words before a class name are learned (CoOp, Zhou et al. 2022, arXiv 2109.01134)."""

    context: int = 4  # learned vectors before the name; the paper tries 4 and 16
    per_class: bool = False  # whether each class has its own ("class-specific context"), or all share them
    start: str = "a photo of a"  # the words that they start from
    steps: int = 100
    batch_size: int = 1024  # pictures of a step; they are encoded already, so many cost little
    lr: float = 2e-3  # the highest learning rate, of Adam, along half a cosine
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be run, with all problems in one error."""
        rules = [
            (not 1 <= self.context <= 64, f"context is {self.context}, expected 1 to 64"),
            (not self.start.strip(), "start has no words"),
            (self.steps < 0 or self.batch_size < 1 or self.lr <= 0, "steps, batch_size or lr is too small"),
        ]
        if problems := [text for broken, text in rules if broken]:
            raise TuneError("the settings cannot be used: " + "; ".join(problems))
