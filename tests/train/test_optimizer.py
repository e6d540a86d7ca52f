import math

import pytest
import torch

from anmok.models.layers import depth, layer_of
from anmok.models.modules import DualEncoder
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec, VitSpec
from anmok.train.optimizer import Average, adamw, learning_rate, lock
from anmok.train.recipe import ModelConfig, OptimizerConfig

TEXT = TextSpec(50, 8, 16, 3, 2, 32, "gelu", causal=True, pool="eos", norm_eps=1e-5, projection_bias=False,
                eos_token=49, pad_token=0)  # fmt: skip
VIT = VitSpec(16, 8, 16, 4, 2, 32, "gelu", "cls", class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5,
              projection=True)  # fmt: skip


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DualEncoder(DualSpec(VIT, TEXT, 8, "sigmoid"))


def test_matrices_decay_and_nothing_else(model):
    names = {parameter: name for name, parameter in model.named_parameters()}
    decayed = {}
    for group in adamw(model, OptimizerConfig(wd=0.3)).param_groups:
        for parameter in group["params"]:
            decayed[names[parameter]] = group["weight_decay"]
    assert set(decayed) == set(names.values())
    for name, decay in decayed.items():
        plain = name.endswith(("bias", "class_embedding")) or "norm" in name or name.startswith("logit")
        assert decay == (0.0 if plain else 0.3), name


def test_rates_fall_from_the_head_to_the_first_layer(model):
    names = {parameter: name for name, parameter in model.named_parameters()}
    rate = {
        names[parameter]: group["scale"]
        for group in adamw(model, OptimizerConfig(layer_decay=0.5)).param_groups
        for parameter in group["params"]
    }
    assert rate["image.projection.weight"] == 1
    assert rate["image.blocks.3.mlp.up.weight"] == 0.5
    assert rate["image.blocks.0.mlp.up.weight"] == 0.5**4
    assert rate["image.patch_embedding.weight"] == 0.5**5
    assert rate["text.token_embedding.weight"] == 0.5**4
    assert rate["logit_scale"] == rate["logit_bias"] == 1


@pytest.mark.parametrize("groups", [0, 1, 3])
def test_a_locked_tower_opens_from_the_head(model, groups):
    lock(model, ModelConfig(lock_image=True, lock_image_unlocked_groups=groups))
    for name, parameter in model.named_parameters():
        if not name.startswith("image."):
            assert parameter.requires_grad
        else:
            assert parameter.requires_grad == (layer_of(name, model.spec) > depth(model.spec, "image") - groups), name
    learning = sum(
        parameter.numel() for group in adamw(model, OptimizerConfig()).param_groups for parameter in group["params"]
    )
    assert learning == sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("schedule", ["cosine", "const", "const-cooldown"])
def test_rates_are_those_of_open_clip(schedule, torchvision):
    from open_clip_train import scheduler as theirs

    steps, cooldown = 100, 30
    config = OptimizerConfig(lr=0.02, warmup=10, lr_scheduler=schedule, lr_cooldown_end=0.001, lr_cooldown_power=2.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    made = {
        "cosine": lambda: theirs.cosine_lr(optimizer, 0.02, 10, steps),
        "const": lambda: theirs.const_lr(optimizer, 0.02, 10, steps),
        "const-cooldown": lambda: theirs.const_lr_cooldown(optimizer, 0.02, 10, steps, cooldown, 2.0, 0.001),
    }[schedule]()
    for step in range(steps):
        made(step)
        ours = learning_rate(step, steps, config, cooldown_steps=cooldown if schedule == "const-cooldown" else 0)
        assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9), step


def test_a_moving_average_follows_the_weights_and_takes_statistics_as_they_are():
    torch.manual_seed(0)
    model = DualEncoder(DualSpec(ResNetSpec(32, 8, (1, 1, 1, 1), 4), TEXT, 8, "softmax"))
    average = Average(model, 0.9)
    before = {name: value.clone() for name, value in average.weights.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
        model.image.stem.norm1.running_mean.fill_(5.0)
    average.follow(model, step=0)  # early: decay 0.1
    name = "text.token_embedding.weight"
    torch.testing.assert_close(average.weights[name], before[name] + 0.9)
    assert (average.weights["image.stem.norm1.running_mean"] == 5).all()
    average.follow(model, step=10_000)
    torch.testing.assert_close(average.weights[name], before[name] + 1 - 0.1 * 0.9)
    assert math.isclose(model.logit_scale.item(), before["logit_scale"].item() + 1, rel_tol=1e-6)
