"""What a graph is made of: a small protobuf, shared arrays, files that any engine opens."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from anmok.models.graphs import image_graph, text_graph
from anmok.models.sizes import SIZES
from anmok.models.spec import weight_shapes

MEGABYTE = 2**20


def zeros(spec):
    """Weights that take address space but no memory: pages of zeros are not there until written."""
    return {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(spec).items()}


def test_the_protobuf_of_a_tower_above_2_gigabytes_is_small(normalization):
    spec = SIZES["ViT-SO400M-14-SigLIP2"]
    weights = zeros(spec)
    graph = text_graph(spec, weights)
    assert sum(array.nbytes for array in graph.initializers.values()) > 2**31
    assert graph.model.ByteSize() < MEGABYTE
    assert image_graph(spec, weights, **normalization).model.ByteSize() < MEGABYTE


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16-SigLIP"])
def test_weights_are_shared_and_not_copied(name, normalization):
    spec = SIZES[name]
    weights = zeros(spec)
    graphs = (image_graph(spec, weights, **normalization), text_graph(spec, weights))
    arrays = [array for graph in graphs for array in graph.initializers.values()]
    addresses = sorted((array.ctypes.data, array.nbytes) for array in weights.values())
    copied = sum(array.nbytes for array in arrays if not inside(array.ctypes.data, addresses))
    # only the patch embedding, whose kernel holds the normalization, and the positions beside it
    assert copied < 0.02 * sum(array.nbytes for array in arrays)


def inside(address, addresses):
    return any(start <= address < start + size for start, size in addresses)


def test_no_weight_is_in_the_protobuf(spec, random_weights, normalization):
    weights = random_weights(spec)
    for graph in (image_graph(spec, weights, **normalization), text_graph(spec, weights)):
        outside = [tensor for tensor in graph.model.graph.initializer if tensor.external_data]
        assert {tensor.name for tensor in outside} == set(graph.initializers)
        assert sum(tensor.ByteSize() for tensor in graph.model.graph.initializer if not tensor.external_data) < 4096
        for tensor in outside:
            assert tuple(tensor.dims) == graph.initializers[tensor.name].shape


def test_a_saved_graph_is_valid_and_runs_the_same(
    spec, tmp_path, random_weights, random_pictures, random_texts, normalization, run_graph
):
    weights = random_weights(spec)
    towers = {
        "image": (image_graph(spec, weights, **normalization), random_pictures(spec, 2).feed),
        "text": (text_graph(spec, weights), {"ids": random_texts(spec, 2)}),
    }
    for name, (graph, feed) in towers.items():
        file = tmp_path / f"{name}.onnx"
        graph.save(file)
        assert sorted(path.name for path in tmp_path.glob(f"{name}*")) == [f"{name}.onnx", f"{name}.onnx.data"]
        onnx.checker.check_model(str(file), full_check=True)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        assert np.array_equal(session.run(["embedding"], feed)[0], run_graph(graph, feed))


def test_saved_arrays_start_at_pages_and_do_not_overlap(specs, tmp_path, random_weights):
    spec = specs["clip vit"]
    graph = text_graph(spec, random_weights(spec))
    graph.save(tmp_path / "text.onnx")
    data = (tmp_path / "text.onnx.data").read_bytes()
    end = 0
    for tensor in onnx.load(tmp_path / "text.onnx", load_external_data=False).graph.initializer:
        if tensor.external_data:
            place = {entry.key: entry.value for entry in tensor.external_data}
            start, length = int(place["offset"]), int(place["length"])
            assert start % 4096 == 0
            assert start >= end
            end = start + length
            assert data[start:end] == graph.initializers[tensor.name].tobytes()
    assert end == len(data)


def test_inputs_and_outputs_are_declared(specs, random_weights, normalization):
    spec = specs["clip vit"]
    weights = random_weights(spec)
    image, text = image_graph(spec, weights, **normalization).model.graph, text_graph(spec, weights).model.graph
    assert [declared(value) for value in image.input] == ["pixels UINT8 [n, 34, 34, 3]"]
    assert [declared(value) for value in text.input] == ["ids INT64 [n, l]"]
    assert [declared(value) for value in (*image.output, *text.output)] == 2 * ["embedding FLOAT [n, 24]"]
    siglip, naflex = specs["siglip"], specs["naflex"]
    text = text_graph(siglip, random_weights(siglip)).model.graph
    assert [declared(value) for value in text.input] == ["ids INT64 [n, 12]"]
    image = image_graph(naflex, random_weights(naflex), **normalization).model.graph
    assert [declared(value) for value in image.input] == [
        "patches UINT8 [n, m, 192]",
        "mask BOOL [n, m]",
        "shapes INT64 [n, 2]",
    ]


def declared(value):
    tensor = value.type.tensor_type
    shape = ", ".join(size.dim_param or str(size.dim_value) for size in tensor.shape.dim)
    return f"{value.name} {onnx.TensorProto.DataType.Name(tensor.elem_type)} [{shape}]"


def test_building_graphs_imports_no_torch():
    code = "import sys, anmok.models.graphs, anmok.models.sizes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
