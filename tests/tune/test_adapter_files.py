"""Adapters on disk: the names and shapes that PEFT writes, and both ways through PEFT itself."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from anmok.checkpoints import huggingface
from anmok.errors import CheckpointError, MissingFile
from anmok.models.modules import from_weights
from anmok.models.spec import weight_shapes
from anmok.tune import TuneError, load_adapter, merge, save_adapter
from anmok.tune.adapter_files import names_in_transformers

NAMES = ["image.blocks.0.attention.q", "image.blocks.1.attention.v", "text.blocks.0.attention.k",
         "text.blocks.1.attention.out", "image.blocks.0.mlp.up", "text.blocks.1.mlp.down"]  # fmt: skip
IN_TRANSFORMERS = ["vision_model.encoder.layers.0.self_attn.q_proj", "vision_model.encoder.layers.1.self_attn.v_proj",
                   "text_model.encoder.layers.0.self_attn.k_proj", "text_model.encoder.layers.1.self_attn.out_proj",
                   "vision_model.encoder.layers.0.mlp.fc1", "text_model.encoder.layers.1.mlp.fc2"]  # fmt: skip


@pytest.mark.parametrize("kind", ["clip", "siglip", "resnet"])
def test_an_adapter_comes_back_as_it_was(kind, specs, random_adapter, tmp_path):
    names = NAMES if kind != "resnet" else ["image.stages.1.0.shortcut.conv", "image.pool.query", NAMES[2]]
    adapter = random_adapter(specs[kind], names, dropout=0.25, base="a" * 32)
    save_adapter(adapter, tmp_path / "adapter", specs[kind])
    again = load_adapter(tmp_path / "adapter", specs[kind])
    assert (again.rank, again.alpha, again.dropout, again.base) == (3, 6.0, 0.25, "a" * 32)
    assert set(again.changes) == set(names)
    for name in names:
        assert all(np.array_equal(a, b) for a, b in zip(again.changes[name], adapter.changes[name], strict=True))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_names_and_shapes_are_those_of_peft_on_transformers(kind, specs, random_adapter, tmp_path):
    spec = specs[kind]
    save_adapter(random_adapter(spec, NAMES), tmp_path, spec)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert (config["r"], config["lora_alpha"], config["bias"]) == (3, 6.0, "none")
    assert config["target_modules"] == IN_TRANSFORMERS
    width = spec.image.width
    shapes = {name: array.shape for name, array in load_file(tmp_path / "adapter_model.safetensors").items()}
    assert set(shapes) == {f"base_model.model.{name}.lora_{half}.weight" for name in IN_TRANSFORMERS for half in "AB"}
    q = "base_model.model.vision_model.encoder.layers.0.self_attn.q_proj"
    assert (shapes[f"{q}.lora_A.weight"], shapes[f"{q}.lora_B.weight"]) == ((3, width), (width, 3))


def test_a_convolution_is_changed_by_two_as_in_peft(specs, random_adapter, tmp_path):
    save_adapter(random_adapter(specs["resnet"], ["image.stages.0.0.conv3"]), tmp_path, specs["resnet"])
    shapes = {name: array.shape for name, array in load_file(tmp_path / "adapter_model.safetensors").items()}
    name = "base_model.model.image.stages.0.0.conv3.lora_"
    assert shapes == {f"{name}A.weight": (3, 8, 1, 1), f"{name}B.weight": (32, 3, 1, 1)}


@pytest.mark.parametrize("kind", ["clip", "siglip", "naflex"])
def test_the_table_of_names_holds_every_linear_map_of_the_transformers_model(kind, specs, random_weights, torchvision):
    model = in_transformers(specs[kind], random_weights(specs[kind]))
    theirs = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    pooling = {"vision_model.head.attention.out_proj"}  # which PyTorch's attention reads but never calls
    embedding = {"vision_model.embeddings.patch_embedding"} if kind == "naflex" else set()
    assert set(names_in_transformers(specs[kind]).values()) | embedding | pooling == theirs | pooling


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "anmok reads LORA"),
        ({"use_dora": True}, "use_dora = True"),
        ({"bias": "all"}, "bias = 'all'"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"modules_to_save": ["visual_projection"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"r": "2"}, "r = '2'"),
        ({"r": 4}, "not to rank 4"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused(change, message, specs, random_adapter, tmp_path):
    save_adapter(random_adapter(specs["clip"], NAMES), tmp_path, specs["clip"])
    config = tmp_path / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(TuneError, match=message):
        load_adapter(tmp_path, specs["clip"])


def test_files_that_are_damaged_or_of_another_model(specs, random_adapter, tmp_path):
    with pytest.raises(MissingFile, match=r"adapter_config\.json is not there"):
        load_adapter(tmp_path, specs["clip"])
    save_adapter(random_adapter(specs["clip"], NAMES), tmp_path, specs["clip"])
    file = tmp_path / "adapter_model.safetensors"
    arrays, whole = load_file(file), file.read_bytes()
    with pytest.raises(TuneError, match="which is no linear map or 1x1 convolution of this model"):
        load_adapter(tmp_path, specs["resnet"])
    halves = {name: array for name, array in arrays.items() if not name.endswith("fc1.lora_B.weight")}
    save_file(halves, file)
    with pytest.raises(TuneError, match="two halves of"):
        load_adapter(tmp_path, specs["clip"])
    save_file({**arrays, "base_model.model.text_projection.bias": np.zeros(3, np.float32)}, file)
    with pytest.raises(TuneError, match=r"text_projection\.bias is no half"):
        load_adapter(tmp_path, specs["clip"])
    file.write_bytes(whole[:-5])
    with pytest.raises(CheckpointError, match="is cut"):
        load_adapter(tmp_path, specs["clip"])


# --- with PEFT itself


def in_transformers(spec, weights):
    import transformers

    config = huggingface.config_of(spec)
    kind = {"clip": "CLIP", "siglip": "Siglip", "siglip2": "Siglip2"}[config["model_type"]]
    model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**config))
    state = {}
    for name in weight_shapes(spec):
        source = huggingface.sources(spec)[name]
        pieces = source.split(weights[name])
        state |= {part: torch.tensor(piece.copy()) for part, piece in zip(source.parts, pieces, strict=True)}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    return model.eval()


@pytest.fixture
def peft(torchvision):
    import peft

    return peft


def both(spec, theirs, weights):
    """Vectors of pictures and texts: transformers' model, and ours with these weights."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, 32, 32, generator=random)
    ids = torch.randint(2, 200, (2, spec.text.context_length), generator=random)
    ids[:, -1] = spec.text.eos_token
    ours = from_weights(spec, weights)
    with torch.no_grad():
        vectors = [theirs.get_image_features(pixel_values=pixels), theirs.get_text_features(input_ids=ids)]
        wanted = [getattr(one, "pooler_output", one) for one in vectors]
        return torch.cat(wanted), torch.cat([ours.encode_image(pixels), ours.encode_text(ids)])


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_peft_puts_our_adapter_onto_the_transformers_model(
    kind, specs, random_weights, random_adapter, tiny_checkpoint, tmp_path, peft
):
    spec, weights = specs[kind], random_weights(specs[kind])
    adapter = random_adapter(spec, [*NAMES, *(f"text.blocks.1.attention.{part}" for part in "qkv")])
    save_adapter(adapter, tmp_path, spec)
    theirs = peft.PeftModel.from_pretrained(in_transformers(spec, weights), str(tmp_path)).eval()
    merged = merge(replace(tiny_checkpoint, spec=spec, weights=weights), adapter)
    wanted, given = both(spec, theirs.base_model.model, merged.weights)
    assert (wanted - given).abs().max() < 1e-5
    assert (wanted - both(spec, in_transformers(spec, weights), weights)[1]).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("clip", {"target_modules": ["q_proj", "v_proj"]}),
        ("clip", {"target_modules": "all-linear", "lora_alpha": 3}),
        ("siglip", {"target_modules": ["k_proj", "fc1"], "use_rslora": True}),
    ],
)
def test_an_adapter_that_peft_has_made_is_read(kind, options, specs, random_weights, tiny_checkpoint, tmp_path, peft):
    spec, weights = specs[kind], random_weights(specs[kind])
    config = peft.LoraConfig(r=4, lora_dropout=0.1, **options)
    model = peft.get_peft_model(in_transformers(spec, weights), config).eval()
    random = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=random)
    model.save_pretrained(str(tmp_path))
    adapter = load_adapter(tmp_path, spec)
    merged = merge(replace(tiny_checkpoint, spec=spec, weights=weights), adapter)
    wanted, given = both(spec, model.base_model.model, merged.weights)
    assert (wanted - given).abs().max() < 1e-5
    save_adapter(adapter, tmp_path / "again", spec)
    ours = load_file(tmp_path / "again" / "adapter_model.safetensors")
    theirs = load_file(tmp_path / "adapter_model.safetensors")
    assert {name: array.shape for name, array in ours.items()} == {name: array.shape for name, array in theirs.items()}
