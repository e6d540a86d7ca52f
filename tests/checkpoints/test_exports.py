"""Ready ONNX exports: run as they are, equal to the model they were exported from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from anmok.checkpoints import load_checkpoint, save_checkpoint
from anmok.errors import CheckpointError, MissingFile
from anmok.runtime import open_towers

from .conftest import TEXTS, write_json


def pretend_export(file: Path, input_name: str, kind: int, shape: list, output: str, *, inputs: tuple[str, ...] = ()):
    """A graph with the inputs and outputs of an export, and a sum in place of the model."""
    width = 20
    nodes = [
        helper.make_node("Cast", [input_name], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Mul", ["column", "weights"], [output]),
        helper.make_node("Identity", ["x"], ["last_hidden_state"]),
    ]
    axes = np.arange(1, len(shape), dtype=np.int64)
    stored = {"axes": axes, "last": np.array([1]), "weights": np.arange(1, width + 1, dtype=np.float32)}
    graph = helper.make_graph(
        nodes, "export",
        [helper.make_tensor_value_info(input_name, kind, shape)]
        + [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "l"]) for name in inputs],
        [
            helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape),
            helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", width]),
        ],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    file.parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), file)


@pytest.fixture
def exported(clip_folder, tmp_path) -> Path:
    folder = Path(shutil.copytree(clip_folder.folder, tmp_path / "exported"))
    (folder / "model.safetensors").unlink()
    pixels = ["n", 3, "h", "w"]
    pretend_export(folder / "onnx/vision_model.onnx", "pixel_values", TensorProto.FLOAT, pixels, "image_embeds")
    pretend_export(folder / "onnx/text_model.onnx", "input_ids", TensorProto.INT64, ["n", "l"], "text_embeds")
    return folder


def test_exports_run_with_the_checkpoints_own_preprocessing(exported, pictures):
    from anmok.pictures import normalize

    checkpoint = load_checkpoint(exported)
    assert checkpoint.exports is not None
    assert checkpoint.exports.image == exported / "onnx" / "vision_model.onnx"
    assert float(np.exp(checkpoint.weights["logit_scale"])) == pytest.approx(100)
    pixels = np.stack([checkpoint.transform(picture) for picture in pictures])
    towers = open_towers(checkpoint, threads=1)
    means = normalize(pixels, checkpoint.transform).mean(axis=(1, 2, 3))
    weights = np.arange(1, 21)
    np.testing.assert_allclose(towers.image(pixels), means[:, None] * weights, atol=1e-5)
    ids = checkpoint.tokenizer(TEXTS)
    np.testing.assert_allclose(towers.text(ids), ids.mean(axis=1)[:, None] * weights, rtol=1e-5)


def test_weights_are_preferred_to_exports(exported, clip_folder):
    shutil.copy(clip_folder.folder / "model.safetensors", exported)
    checkpoint = load_checkpoint(exported)
    assert checkpoint.exports is None
    assert checkpoint.fingerprint == load_checkpoint(clip_folder.folder).fingerprint


def test_fingerprint_follows_the_files(exported):
    first = load_checkpoint(exported).fingerprint
    assert load_checkpoint(exported).fingerprint == first
    pixels = ["n", 3, "height", "w"]
    pretend_export(exported / "onnx/vision_model.onnx", "pixel_values", TensorProto.FLOAT, pixels, "image_embeds")
    assert load_checkpoint(exported).fingerprint != first


def test_exports_are_copied_not_saved(exported, tmp_path):
    with pytest.raises(CheckpointError, match="copy its folder instead"):
        save_checkpoint(load_checkpoint(exported), tmp_path / "x")


def test_export_with_other_inputs_is_refused(exported):
    pretend_export(
        exported / "onnx/text_model.onnx", "input_ids", TensorProto.INT64, ["n", "l"], "text_embeds",
        inputs=("attention_mask",),
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"text_model.onnx asks for input_ids, attention_mask"):
        load_checkpoint(exported)


def test_cut_export_is_refused(exported):
    file = exported / "onnx/vision_model.onnx"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=r"vision_model.onnx is not an ONNX file, or it is cut"):
        load_checkpoint(exported)


def test_half_of_an_export_is_no_checkpoint(exported):
    (exported / "onnx/text_model.onnx").unlink()
    with pytest.raises(MissingFile, match=r"no weights; looked for .*onnx/text_model.onnx"):
        load_checkpoint(exported)


def test_export_without_an_embedding_says_what_it_gives(exported):
    pretend_export(exported / "onnx/text_model.onnx", "input_ids", TensorProto.INT64, ["n", "l"], "logits")
    checkpoint = load_checkpoint(exported)
    with pytest.raises(CheckpointError, match="gives last_hidden_state, logits; expected one of image_embeds"):
        open_towers(checkpoint, threads=1).text(checkpoint.tokenizer(TEXTS))


def test_siglip_export_takes_its_scale_from_the_combined_model(siglip_folder, tmp_path):
    folder = Path(shutil.copytree(siglip_folder.folder, tmp_path / "exported"))
    (folder / "model.safetensors").unlink()
    pixels = ["n", 3, "h", "w"]
    pretend_export(folder / "onnx/vision_model.onnx", "pixel_values", TensorProto.FLOAT, pixels, "pooler_output")
    pretend_export(folder / "onnx/text_model.onnx", "input_ids", TensorProto.INT64, ["n", "l"], "pooler_output")
    with pytest.raises(MissingFile, match="logit_scale and logit_bias are neither in the exported towers"):
        load_checkpoint(folder)
    numbers = {"logit_scale": np.array([4.5], np.float32), "logit_bias": np.array([-12.0], np.float32)}
    stored = [numpy_helper.from_array(array, name) for name, array in numbers.items()]
    onnx.save(helper.make_model(helper.make_graph([], "all", [], [], stored)), folder / "onnx/model.onnx")
    weights = load_checkpoint(folder).weights
    assert (float(weights["logit_scale"]), float(weights["logit_bias"])) == (4.5, -12.0)
    write_json(folder / "config.json", {"model_type": "siglip"})
    with pytest.raises(CheckpointError, match="different models"):
        load_checkpoint(folder)
