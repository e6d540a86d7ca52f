"""Changes of low rank: nothing at first, trained alone, and equal to matrices that have them added."""

import pytest
import torch

from anmok.models.modules import DualEncoder, from_weights
from anmok.models.modules.lora import MAPS, add_lora, low_rank_changes
from anmok.train.optimizer import adamw
from anmok.train.recipe import OptimizerConfig


def outputs(model, pictures, ids):
    with torch.no_grad():
        return model.encode_image(**pictures.modules), model.encode_text(ids)


@pytest.mark.parametrize("kind", ["clip vit", "siglip", "naflex", "clip resnet", "resnet, bottlenecks", "hybrid"])
def test_nothing_changes_at_first_then_only_the_changes_train(
    kind, specs, random_weights, random_pictures, random_texts
):
    spec = specs[kind]
    model = from_weights(spec, random_weights(spec))
    pictures, ids = random_pictures(spec, 3), torch.tensor(random_texts(spec, 3))
    before = outputs(model, pictures, ids)
    plain = {name: value.clone() for name, value in model.state_dict().items()}
    names = add_lora(model, maps=MAPS, rank=3, alpha=6, dropout=0.5)
    after = outputs(model, pictures, ids)
    assert max(float((one - other).abs().max()) for one, other in zip(before, after, strict=True)) < 1e-5

    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    assert len(trained) == 2 * len(names) == 2 * len(low_rank_changes(model))
    optimizer = adamw(model, OptimizerConfig(lr=0.05))
    for _ in range(3):
        optimizer.zero_grad()
        (model(**pictures.modules, ids=ids) * torch.eye(3)).sum().backward()
        optimizer.step()
    held = {id(one) for group in optimizer.param_groups for one in group["params"]}
    assert held == {id(one) for one in trained.values()} == {id(one) for one in optimizer.state}
    assert all(float(up.abs().max()) > 0 for _, up in low_rank_changes(model).values())
    assert not torch.allclose(before[0], outputs(model, pictures, ids)[0], atol=1e-3)
    frozen = {name.replace(".base.", "."): value for name, value in model.state_dict().items()}
    assert all(torch.equal(value, frozen[name]) for name, value in plain.items())


def test_which_maps_have_changes(specs):
    def changed(kind, **options):
        return add_lora(DualEncoder(specs[kind]), **options)

    q_k_v = [f"{tower}.blocks.{i}.attention.{part}" for tower in ("image", "text") for i in (0, 1) for part in "qkv"]
    assert changed("clip vit") == q_k_v
    assert changed("siglip") == q_k_v  # the fused matrix of its pooling head stays
    assert changed("clip vit", maps=["v", "down"], towers=["text"]) == [
        f"text.blocks.{i}.{name}" for i in (0, 1) for name in ("attention.v", "mlp.down")
    ]
    assert changed("siglip", maps=["up"], towers=["image"])[-1] == "image.pool.mlp.up"
    resnet = changed("clip resnet", maps=["q", "conv"], towers=["image"])
    assert resnet[:3] == ["image.stages.0.0.conv1", "image.stages.0.0.conv3", "image.stages.0.0.shortcut.conv"]
    assert resnet[-1] == "image.pool.query"
    assert changed("bag of words", towers=["text"]) == []


def test_dropout_leaves_the_frozen_part_whole(specs, random_weights, random_texts):
    spec = specs["clip vit"]
    model = from_weights(spec, random_weights(spec))
    ids = torch.tensor(random_texts(spec, 2))
    before = model.encode_text(ids)
    add_lora(model, dropout=0.9)
    assert torch.allclose(before, model.train().encode_text(ids), atol=1e-5)  # B is zero still, whatever A is given
