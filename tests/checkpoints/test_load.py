"""What is refused, and how the refusal reads. No checkpoint is ever half loaded."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from anmok.checkpoints import NonCommercialLicenseWarning, load_checkpoint
from anmok.checkpoints.arrays import open_arrays
from anmok.errors import CheckpointError, MissingFile, WeightsMismatch

from .conftest import write_json


@pytest.fixture
def clip(clip_folder, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(clip_folder.folder, tmp_path / "clip"))


@pytest.fixture
def oc(open_clip_folder, tmp_path) -> Path:
    return Path(shutil.copytree(open_clip_folder.folder, tmp_path / "oc"))


def change(file: Path, **values) -> None:
    write_json(file, {**json.loads(file.read_text(encoding="utf-8")), **values})


def rewrite(folder: Path, edit) -> None:
    """Let `edit` change the dict of arrays in model.safetensors."""
    from safetensors.numpy import load_file, save_file

    file = folder / "model.safetensors"
    arrays = load_file(file)
    edit(arrays)
    save_file(arrays, file)


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("preprocessor_config.json", "no preprocessor_config.json.*of no use"),
        ("vocab.json", "no tokenizer: looked for"),
        ("model.safetensors", "config.json but no weights; looked for model.safetensors, .*onnx/vision_model.onnx"),
        ("config.json", "has weights but no config.json"),
    ],
)
def test_missing_file_is_named(clip, lost, named):
    (clip / lost).unlink()
    with pytest.raises(MissingFile, match=named):
        load_checkpoint(clip)


def test_folder_without_checkpoint_says_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(
        CheckpointError, match=r"Looked for open_clip_config.json .* anmok_config.json .* found notes.txt"
    ):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["no-such-model", "ViT-B-32", "anmok-minj"])
def test_unknown_name_proposes_near_ones(name):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*Did you mean|expected a folder"):
        load_checkpoint(name)


def test_unknown_open_clip_tag_lists_the_tags():
    with pytest.raises(CheckpointError, match=r"no weights 'laion2b_s34b_b97k'.*Did you mean 'laion2b_s34b_b79k'"):
        load_checkpoint("ViT-B-32/laion2B-s34B-b97K")


def test_name_longer_than_a_file_name_is_refused():
    with pytest.raises(CheckpointError, match=r"cannot be a checkpoint's name|there is no checkpoint"):
        load_checkpoint("x" * 5000)


@pytest.mark.parametrize("name", [Path("nowhere"), "./nowhere", "/nowhere/at/all"])
def test_path_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(MissingFile, match="is not there"):
        load_checkpoint(name)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda a: a.pop("text_projection.weight"), "1 missing: text_projection.weight"),
        (lambda a: a.update(extra=np.zeros(3, np.float32)), "1 unexpected: extra"),
        (
            lambda a: a.update({"logit_scale": np.zeros((2, 2), np.float32)}),
            r"1 of another shape: logit_scale is \[2, 2\], the config asks for \[\]",
        ),
        (
            lambda a: a.update({"text_model.encoder.layers.0.self_attn.k_proj.bias": np.zeros(7, np.float32)}),
            r"q_proj.bias \+ .*k_proj.bias \+ .* is \[24\] \+ \[7\] \+ \[24\], the config asks for \[72\]",
        ),
        (
            lambda a: [a.pop(name) for name in list(a) if "vision_model" in name],
            r"\d+ missing: .* and \d+ more",
        ),
    ],
    ids=["missing", "extra", "shape", "part", "tower"],
)
def test_weights_that_do_not_fit_are_named(clip, edit, named):
    rewrite(clip, edit)
    with pytest.raises(WeightsMismatch, match=named):
        load_checkpoint(clip)


def test_buffers_of_older_versions_are_ignored(clip):
    ids = np.arange(77)[None]
    rewrite(clip, lambda arrays: arrays.update({"text_model.embeddings.position_ids": ids}))
    assert load_checkpoint(clip).spec.dimension == 20


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"projection_dim": 21}, r"text_projection.weight is \[20, 24\], the config asks for \[21, 24\]"),
        ({"projection_dim": -1}, "projection_dim is -1, expected a whole number"),
        ({"projection_dim": 10**12}, "expected a whole number from 1 to"),
        ({"vision_config": {"num_hidden_layers": 10**9}}, "vision_config.num_hidden_layers is 1000000000"),
        ({"vision_config": {"hidden_size": "big", "hidden_act": "relu"}}, "hidden_size is 'big'.*hidden_act is 'relu'"),
        ({"vision_config": {"num_attention_heads": 5}}, "expected a divisor of hidden_size"),
        ({"vision_config": [1]}, "vision_config is .*expected an object"),
        ({"text_config": {"eos_token_id": 7}}, "eos_token_id is 7, but the tokenizer ends texts with 49407"),
        ({"text_config": {"vocab_size": 40000}}, "token_embedding.weight is|different models: the tokenizer has 49408"),
        ({"vision_config": {"image_size": 64}}, "different models|position_embedding.weight is"),
        ({"model_type": "bert"}, "model_type 'bert'; anmok loads clip, siglip, siglip2"),
    ],
    ids=str,
)
def test_config_that_lies_is_refused(clip, values, named):
    config = json.loads((clip / "config.json").read_text())
    merged = {
        key: {**config[key], **value} if isinstance(value, dict) and isinstance(config.get(key), dict) else value
        for key, value in values.items()
    }
    change(clip / "config.json", **merged)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(clip)


def test_preprocessing_of_another_size_is_refused(clip):
    change(clip / "preprocessor_config.json", crop_size={"height": 48, "width": 48})
    with pytest.raises(CheckpointError, match=r"preprocessing gives pictures of \(48, 48\), the image tower takes 32"):
        load_checkpoint(clip)


def test_preprocessing_error_names_the_file(clip):
    change(clip / "preprocessor_config.json", resample=9)
    with pytest.raises(CheckpointError, match=r"preprocessor_config.json: .*resample"):
        load_checkpoint(clip)


def test_processor_config_of_transformers_5_is_read(clip):
    """transformers 5 saves a processor as one file, with the picture part inside."""
    content = json.loads((clip / "preprocessor_config.json").read_text())
    (clip / "preprocessor_config.json").unlink()
    write_json(clip / "processor_config.json", {"image_processor": content, "processor_class": "CLIPProcessor"})
    assert load_checkpoint(clip).transform.size == (32, 32)


def test_broken_json_is_named(clip):
    (clip / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config.json cannot be read as JSON"):
        load_checkpoint(clip)


@pytest.mark.parametrize("keep", [0, 5, 100, 2000, -1])
def test_truncated_safetensors_is_refused(clip, keep):
    file = clip / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: keep if keep >= 0 else len(content) - 1])
    with pytest.raises(CheckpointError, match=r"cut|damaged"):
        load_checkpoint(clip)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [1 << 40, (1 << 40) + 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [-80, -72]},
        {"dtype": "F4", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": "x", "data_offsets": [0, 8]},
        {"dtype": "F32"},
        7,
    ],
    ids=str,
)
def test_hostile_safetensors_header_is_refused(tmp_path, entry):
    header = json.dumps({"a": entry}).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(CheckpointError, match=r"x.safetensors"):
        open_arrays(file)


def _shard(folder: Path) -> dict[str, str]:
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(arrays)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: arrays[name] for name in part}, folder / file)
    shard_of = {name: file for file, part in shards.items() for name in part}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": shard_of})
    return shard_of


def test_shards_equal_one_file(clip, clip_folder):
    _shard(clip)
    assert load_checkpoint(clip).fingerprint == load_checkpoint(clip_folder.folder).fingerprint


def test_missing_shard_is_named(clip):
    _shard(clip)
    (clip / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingFile, match=r"model-00002-of-00002.safetensors is not there: .*index.json names it"):
        load_checkpoint(clip)


def test_index_that_leaves_the_folder_is_refused(clip):
    shard_of = _shard(clip)
    first = next(iter(shard_of))
    write_json(clip / "model.safetensors.index.json", {"weight_map": {**shard_of, first: "../secret.safetensors"}})
    with pytest.raises(CheckpointError, match="names a shard outside its folder"):
        load_checkpoint(clip)


def test_index_that_lies_is_refused(clip):
    shard_of = _shard(clip)
    write_json(clip / "model.safetensors.index.json", {"weight_map": {**shard_of, "ghost": shard_of["logit_scale"]}})
    with pytest.raises(CheckpointError, match="ghost is not in"):
        load_checkpoint(clip)


def test_safetensors_is_preferred_to_a_pickle(clip):
    (clip / "pytorch_model.bin").write_bytes(b"not even a pickle")
    assert load_checkpoint(clip).weights.files == (clip / "model.safetensors",)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("pickled", [False, True])
def test_half_precision_weights_are_read_exactly(clip, clip_folder, dtype, pickled):
    import torch
    from safetensors.torch import load_file, save_file

    halves = {name: value.to(getattr(torch, dtype)) for name, value in load_file(clip / "model.safetensors").items()}
    if pickled:
        (clip / "model.safetensors").unlink()
        torch.save(halves, clip / "pytorch_model.bin")
    else:
        save_file(halves, clip / "model.safetensors")
    weights = load_checkpoint(clip).weights
    for name, theirs in (("logit_scale", "logit_scale"), ("text.projection.weight", "text_projection.weight")):
        assert weights[name].dtype == (np.float32 if dtype == "bfloat16" else np.float16)
        np.testing.assert_array_equal(weights[name].astype(np.float32), halves[theirs].float().numpy())


def test_weights_are_views_of_the_mapped_file(clip):
    weights = load_checkpoint(clip).weights
    array = weights["text.token_embedding.weight"]
    base = array
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not array.flags.writeable
    assert weights["text.blocks.0.attention.qkv.weight"].shape == (72, 24)


# --- open_clip -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "values", "named"),
    [
        ("text_cfg", {"hf_model_name": "xlm-roberta-base"}, "hf_model_name is 'xlm-roberta-base', .*not support yet"),
        ("vision_cfg", {"attentional_pool": True}, "vision_cfg.attentional_pool is True"),
        ("vision_cfg", {"timm_model_name": "convnext_base"}, "anmok knows timm's SigLIP towers"),
        ("vision_cfg", {"ls_init_value": 0.1, "qk_norm": True}, "ls_init_value is 0.1.*qk_norm is True"),
        ("vision_cfg", {"new_trick": 1}, "vision_cfg.new_trick is 1, an option that anmok does not know"),
        ("vision_cfg", {"layers": [1, 2]}, "layers is .*expected four whole numbers"),
        ("text_cfg", {"pool_type": "first"}, "pool_type is 'first', anmok knows argmax, eos and last"),
        ("text_cfg", {"pool_type": "eos"}, "eos_id is 2, but the tokenizer ends texts with 49407"),
        ("text_cfg", {"tokenizer_kwargs": {"reduction_mask": "syntax"}}, "tokenizer_kwargs .* is not supported yet"),
        ("text_cfg", {"heads": 7}, "expected a divisor of width"),
    ],
    ids=str,
)
def test_unsupported_open_clip_options_are_named(oc, section, values, named):
    content = json.loads((oc / "open_clip_config.json").read_text())
    content["model_cfg"][section].update(values)
    write_json(oc / "open_clip_config.json", content)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(oc)


@pytest.mark.parametrize(("part", "named"), [("model_cfg", "no model_cfg"), ("preprocess_cfg", "no preprocess_cfg")])
def test_open_clip_config_without_a_part_is_refused(oc, part, named):
    content = json.loads((oc / "open_clip_config.json").read_text())
    del content[part]
    write_json(oc / "open_clip_config.json", content)
    with pytest.raises(CheckpointError, match=named):
        load_checkpoint(oc)


def test_open_clip_folder_that_names_a_tokenizer_must_have_it(oc):
    content = json.loads((oc / "open_clip_config.json").read_text())
    content["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "some/tokenizer"
    write_json(oc / "open_clip_config.json", content)
    with pytest.raises(MissingFile, match="no tokenizer: looked for"):
        load_checkpoint(oc)


def test_training_checkpoint_of_open_clip_is_read(oc, open_clip_folder):
    """`{"epoch", "state_dict": {"module.…"}}`, as open_clip's training saves it."""
    import torch

    (oc / "open_clip_model.safetensors").unlink()
    state = {f"module.{name}": value for name, value in open_clip_folder.model.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state}, oc / "open_clip_pytorch_model.bin")
    assert load_checkpoint(oc).fingerprint == load_checkpoint(open_clip_folder.folder).fingerprint


def test_pt_file_that_is_not_openais_is_refused(tmp_path):
    import torch

    torch.save({"weight": torch.zeros(3)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="is not OpenAI's state dict"):
        load_checkpoint(tmp_path / "model.pt")


# --- licenses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("front", "expected", "warns"),
    [
        ("license: mit", "mit", False),
        ("tags:\n- clip\nlicense: cc-by-nc-4.0", "cc-by-nc-4.0", True),
        ("license: other\nlicense_name: apple-amlr", "apple-amlr", True),
        ("license: 'apache-2.0'", "apache-2.0", False),
        ("tags: []", None, False),
    ],
)
def test_license_is_read_from_the_card(clip, front, expected, warns, recwarn):
    (clip / "README.md").write_text(f"---\n{front}\n---\n# A model\nlicense: gpl\n")
    if warns:
        with pytest.warns(NonCommercialLicenseWarning, match="does not allow commercial use"):
            assert load_checkpoint(clip).license == expected
    else:
        assert load_checkpoint(clip).license == expected


def test_built_in_name_is_not_shadowed_by_a_folder_that_happens_to_be_here(tmp_path, monkeypatch):
    (tmp_path / "anmok-mini").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("anmok-mini").spec.dimension > 0
    with pytest.raises(CheckpointError):
        load_checkpoint("./anmok-mini")
