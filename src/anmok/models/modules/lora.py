"""LoRA: frozen matrices, each with a small trained change of low rank.

    y = W x + (alpha / r) · B A x        A [r, in] starts random, B [out, r] starts at zero: nothing is changed at first

Source: LoRA (Hu et al. 2021, arXiv 2106.09685, equation 3), with a dropout on what goes into A, as in its reference
implementation and in PEFT. Query, key and value lie in one fused matrix here; each has a change of its own, as if they
were three, so that adapters are interchangeable with those of models that keep them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok.models.modules.blocks import Attention, Mlp
from anmok.models.modules.pool import AttentionPool, MapPool

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from anmok.models.modules.dual import DualEncoder

__all__ = ["MAPS", "Adapted", "LowRank", "add_lora", "low_rank_changes"]

MAPS = ("q", "k", "v", "out", "up", "down", "conv")  # what may be changed; "conv": convolutions of one pixel


def add_lora(
    model: DualEncoder,
    *,
    maps: Collection[str] = ("q", "k", "v"),
    rank: int = 2,
    alpha: float = 2.0,
    dropout: float = 0.0,
    towers: Collection[Literal["image", "text"]] = ("image", "text"),
) -> list[str]:
    """Freeze the model and give the chosen maps of the chosen towers a change that trains.

    Args:
        model: whose modules are wrapped in place; what it computes stays the same for now.
        maps: of `MAPS`: query, key, value and output of attention, the two of the MLPs, 1x1 convolutions. The
            attention of SigLIP's pooling head stays as it is, as PEFT has it.
        rank: r, of every change.
        alpha: the change is scaled by alpha / r.
        dropout: share of a change's inputs that a training step leaves out.
        towers: which.

    Returns:
        Names of the changes, such as "image.blocks.0.attention.q" or "image.stages.0.0.conv1". None: the model has
        no such maps.
    """
    model.requires_grad_(False)
    wrapped = [
        f"{tower}.{name}" for tower in towers for name, kinds in _places(getattr(model, tower)) if kinds & {*maps}
    ]
    names: list[str] = []
    for name in wrapped:
        parent, _, own = name.rpartition(".")
        holder, base = model.get_submodule(parent), model.get_submodule(name)
        assert isinstance(base, nn.Linear | nn.Conv2d)
        parts = "qkv" if own == "qkv" else ""
        adapted = Adapted(base, parts, {*parts} & {*maps}, rank=rank, alpha=alpha, dropout=dropout)
        setattr(holder, own, adapted.train(model.training))
        names += [f"{parent}.{part}" for part in adapted.changes] if parts else [name]
    return names


def low_rank_changes(model: DualEncoder) -> dict[str, tuple[Tensor, Tensor]]:
    """A [r, in] and B [out, r] of every change, by the names that `add_lora` gives."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for name, module in model.named_modules():
        if isinstance(module, Adapted):
            for part, change in module.changes.items():
                assert isinstance(change, LowRank)
                place = name.removesuffix("qkv") + part if module.parts else name
                found[place] = (change.down.detach(), change.up.detach())
    return found


class Adapted(nn.Module):
    """A frozen linear map or 1x1 convolution, and low-rank changes of it.

    `parts`: the letters of the equal parts that its outputs fall into ("qkv"), or "" for a map of one part.
    `changes`: those that have one, by letter; of a map of one part as "whole".
    """

    def __init__(
        self,
        base: nn.Linear | nn.Conv2d,
        parts: str,
        changed: Collection[str],
        *,
        rank: int,
        alpha: float,
        dropout: float,
    ) -> None:
        super().__init__()
        outputs, inputs = base.weight.shape[:2]
        self.base, self.parts = base, parts
        self.changes = nn.ModuleDict(
            {
                part: LowRank(inputs, outputs // max(1, len(parts)), rank=rank, alpha=alpha, dropout=dropout)
                for part in parts or ["whole"]
                if not parts or part in changed
            }
        ).to(base.weight.device)

    def forward(self, x: Tensor) -> Tensor:
        """As the map itself: [..., in] → [..., out], or [n, in, h, w] → [n, out, h, w]."""
        y: Tensor = self.base(x)
        if isinstance(self.base, nn.Conv2d):
            change: Tensor = self.changes["whole"](x.movedim(1, -1))
            return y + change.movedim(-1, 1)
        none = y.new_zeros((*y.shape[:-1], y.shape[-1] // max(1, len(self.parts))))
        changes = [self.changes[part](x) if part in self.changes else none for part in self.parts or ["whole"]]
        return y + torch.cat(changes, dim=-1)


class LowRank(nn.Module):
    """x → (alpha / r) · B A x."""

    def __init__(self, inputs: int, outputs: int, *, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))  # A, as in PEFT
        self.up = nn.Parameter(torch.zeros(outputs, rank))  # B
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        y: Tensor = F.linear(F.linear(self.dropout(x), self.down), self.up) * self.scale
        return y


def _places(tower: nn.Module) -> Iterator[tuple[str, set[str]]]:
    """Every map of a tower that may have changes: its name in the tower, and which of `MAPS` it holds."""
    for name, module in tower.named_modules():
        if isinstance(module, Attention) and not isinstance(_parent(tower, name), MapPool):
            yield f"{name}.qkv", {"q", "k", "v"}
            yield f"{name}.out", {"out"}
        elif isinstance(module, AttentionPool):
            yield from ((f"{name}.{map_}", {kind}) for map_, kind in (("query", "q"), ("key", "k"), ("value", "v")))
            yield f"{name}.out", {"out"}
        elif isinstance(module, Mlp):
            yield f"{name}.up", {"up"}
            yield f"{name}.down", {"down"}
        elif isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1:
            yield name, {"conv"}


def _parent(tower: nn.Module, name: str) -> nn.Module:
    return tower.get_submodule(name.rpartition(".")[0])
