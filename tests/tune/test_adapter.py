import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from anmok.models.modules import from_weights
from anmok.models.modules.lora import MAPS, add_lora, low_rank_changes
from anmok.tune import Adapter, TuneError, merge, unmerge
from anmok.tune.adapter import rows_of


def encoded(model, spec):
    random = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, 32, 32, generator=random)
    ids = torch.randint(2, 200, (3, spec.text.context_length), generator=random)
    ids[:, -1] = spec.text.eos_token
    with torch.no_grad():
        return torch.cat([model.encode_image(pixels), model.encode_text(ids)])


@pytest.mark.parametrize("kind", ["clip", "siglip", "resnet"])
def test_the_merged_model_computes_what_model_and_adapter_do_and_unmerging_gives_the_first(
    kind, specs, random_weights, tiny_checkpoint
):
    spec, weights = specs[kind], random_weights(specs[kind])
    checkpoint = replace(tiny_checkpoint, spec=spec, weights=weights)
    model = from_weights(spec, weights)
    plain = encoded(model, spec)
    add_lora(model, maps=MAPS, rank=3, alpha=6)
    random = torch.Generator().manual_seed(1)
    for _, up in low_rank_changes(model).values():
        up += 0.2 * torch.randn(up.shape, generator=random)
    wanted = encoded(model, spec)
    changes = {name: (down.numpy(), up.numpy()) for name, (down, up) in low_rank_changes(model).items()}
    adapter = Adapter(changes, rank=3, alpha=6.0, base=checkpoint.fingerprint)
    assert adapter.parameters == sum(one.numel() for one in model.parameters() if one.requires_grad)

    merged = merge(checkpoint, adapter)
    assert (encoded(from_weights(spec, merged.weights), spec) - wanted).abs().max() < 1e-5
    assert (plain - wanted).abs().max() > 0.1
    assert merged.fingerprint != checkpoint.fingerprint
    back = unmerge(merged, adapter)
    assert (encoded(from_weights(spec, back.weights), spec) - plain).abs().max() < 1e-5
    assert max(float(np.abs(back.weights[name] - weights[name]).max()) for name in weights) < 1e-5


def test_query_key_and_value_are_rows_of_the_fused_matrix(specs):
    spec = specs["clip"]
    assert rows_of("text.blocks.1.attention.k", spec) == ("text.blocks.1.attention.qkv.weight", slice(32, 64))
    assert rows_of("text.projection", spec) == ("text.projection.weight", slice(0, 24))


def test_what_does_not_fit_is_told(checkpoints, random_adapter):
    checkpoint = checkpoints["clip"]
    adapter = random_adapter(checkpoint.spec, ["text.blocks.0.attention.q"])
    with pytest.raises(TuneError, match="trained on the model abc"):
        merge(checkpoint, replace(adapter, base="abc"))
    down, up = adapter.changes["text.blocks.0.attention.q"]
    with pytest.raises(TuneError, match=r"is \[32, 3\] times \[3, 31\], the model's map \[32, 32\]"):
        merge(checkpoint, replace(adapter, changes={"text.blocks.0.attention.q": (down[:, 1:], up)}))
    for name in ("image.stages.0.0.conv1", "text.norm", "image.patch_embedding", "logit_scale", "x"):
        with pytest.raises(TuneError, match="no linear map or 1x1 convolution of this model"):
            merge(checkpoint, replace(adapter, changes={name: (down, up)}))


def test_the_checkpoint_itself_is_not_changed(checkpoints, random_adapter):
    checkpoint = checkpoints["clip"]
    before = {name: np.array(array) for name, array in checkpoint.weights.items()}
    merged = merge(checkpoint, random_adapter(checkpoint.spec, ["image.blocks.0.attention.v", "text.blocks.0.mlp.up"]))
    assert all(np.array_equal(array, checkpoint.weights[name]) for name, array in before.items())
    changed = {name for name, array in before.items() if not np.array_equal(array, merged.weights[name])}
    assert changed == {"image.blocks.0.attention.qkv.weight", "text.blocks.0.mlp.up.weight"}
    rows = np.abs(merged.weights["image.blocks.0.attention.qkv.weight"] - before["image.blocks.0.attention.qkv.weight"])
    assert rows[:64].max() == 0
    assert rows[64:].max() > 0


def test_adapters_need_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from anmok.tune import Adapter, TowerSettings, interpolate, load_adapter, merge, save_adapter, unmerge"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)
