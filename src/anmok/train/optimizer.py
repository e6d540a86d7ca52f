"""AdamW over decay groups, the learning rate of each step, and a moving average of the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from anmok.models.layers import depth, layer_of

if TYPE_CHECKING:
    from anmok.models.modules import DualEncoder
    from anmok.train.recipe import ModelConfig, OptimizerConfig

__all__ = ["Average", "adamw", "learning_rate", "lock"]


def lock(model: DualEncoder, config: ModelConfig) -> None:
    """Locked towers stay as they are, but for their last groups of layers (LiT, Zhai et al. 2022, arXiv 2111.07991).

    The rest is in training mode afterwards; what is locked is not, so that batch norms keep their statistics.
    """
    towers: list[tuple[Literal["image", "text"], bool, int]] = [
        ("image", config.lock_image, config.lock_image_unlocked_groups),
        ("text", config.lock_text, config.lock_text_unlocked_layers),
    ]
    for tower, locked, unlocked in towers:
        last = depth(model.spec, tower) - unlocked if locked else -1  # layer that stays as it is
        for name, parameter in getattr(model, tower).named_parameters():
            if layer_of(f"{tower}.{name}", model.spec) <= last:
                parameter.requires_grad_(False)
    for module in model.train().modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def adamw(model: DualEncoder, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW with weight decay for matrices and kernels only, and rates that fall from the head to the first layer.

    Biases, gains, single tokens and the temperature are not decayed, as in open_clip. The factor of a group is kept in
    it as "scale"; the loop multiplies the rate of the step with it.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        below_head = 0
        if not name.startswith("logit"):
            tower: Literal["image", "text"] = "image" if name.startswith("image.") else "text"
            below_head = depth(model.spec, tower) - layer_of(name, model.spec)
        key = (config.wd if parameter.ndim > 1 else 0.0, config.layer_decay**below_head)
        groups.setdefault(key, []).append(parameter)
    listed = [{"params": some, "weight_decay": decay, "scale": scale} for (decay, scale), some in groups.items()]
    return torch.optim.AdamW(listed, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, fused=True)


def learning_rate(step: int, steps: int, config: OptimizerConfig, *, cooldown_steps: int = 0) -> float:
    """The rate of a step (0 is the first), as in open_clip's `scheduler.py`.

    Linear from lr / warmup over `warmup` steps; then half a cosine down to 0, or constant, or constant and at last
    `cooldown_steps` steps of (1 - progress)^power down to `lr_cooldown_end`.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.lr_scheduler == "cosine":
        progress = (step - config.warmup) / max(1, steps - config.warmup)
        return 0.5 * (1 + math.cos(math.pi * progress)) * config.lr
    start = steps - cooldown_steps
    if config.lr_scheduler == "const" or step < start:
        return config.lr
    left = 1 - (step - start) / max(1, steps - start)
    return float(left**config.lr_cooldown_power * (config.lr - config.lr_cooldown_end) + config.lr_cooldown_end)


class Average:
    """An exponential moving average of a model's weights (Polyak and Juditsky 1992), which is often the better model.

    Early on it follows faster, with (1 + step) / (10 + step) where that is below the decay. Running statistics of batch
    norms are taken as they are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def follow(self, model: nn.Module, step: int) -> None:
        """Move towards the model; `step` counts from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = {name: value.detach() for name, value in model.named_parameters()}
        torch._foreach_lerp_([self.weights[name] for name in parameters], list(parameters.values()), 1 - decay)
        for name, value in model.named_buffers():
            if name in self.weights:
                self.weights[name].copy_(value)
