"""Writing an ONNX graph by hand: a `Builder` collects nodes, a `Graph` is the finished model.

The protobuf carries no weights, only their names, types and shapes. The arrays stay beside it,
so that towers above protobuf's limit of 2 GB work and memory holds the weights once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from anmok.models.weights import as_float32

if TYPE_CHECKING:
    from anmok.models.weights import Array, Weights

__all__ = ["FLOAT", "INT32", "Builder", "Graph", "declare"]

FLOAT = int(TensorProto.FLOAT)
INT32 = int(TensorProto.INT32)
OPSET = 20  # the first with Gelu as one operator
IR_VERSION = 9  # the one that came with it, so that older engines read the file too
UNSAVED = "weights-not-saved"  # where the protobuf says the weights are until `save` puts them somewhere
Attribute = int | float | str | Sequence[int]
ALIGNMENT = 4096  # of each array in the saved file, so that engines can memory-map it


@dataclass(frozen=True)
class Graph:
    """An ONNX model and, beside it, its weights.

    `model` declares every array of `initializers` as external data. An engine takes them either at
    session time (ONNX Runtime: `SessionOptions.add_external_initializers`, which shares the
    memory) or from the file that `save` writes.
    """

    model: onnx.ModelProto
    initializers: dict[str, Array]

    def save(self, path: str | Path) -> None:
        """Write `path` and, beside it, `path` + ".data" with the weights: a model that any engine opens.

        Raises:
            OSError: the files cannot be written.
        """
        path = Path(path)
        data = path.with_name(path.name + ".data")
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        with data.open("wb") as file:
            for tensor in model.graph.initializer:
                if tensor.name in self.initializers:
                    file.write(b"\0" * (-file.tell() % ALIGNMENT))
                    array = self.initializers[tensor.name]
                    _mark_external(tensor, data.name, file.tell(), array.nbytes)
                    file.write(array.data)
        path.write_bytes(model.SerializeToString())


class Builder:
    """Collects the nodes of a graph. A value is known by its name, a string.

    Each method that adds something returns the name of what it made, so calls nest like the
    formulas that they write.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.initializers: dict[str, Array] = {}
        self._constants: dict[str, Any] = {}
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []

    def input(self, name: str, dtype: type[np.generic], shape: Sequence[int | str]) -> str:
        """Declare an input; sizes given as words are free."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self._inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operator with one output."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Attribute) -> list[str]:
        """Add an operator with several outputs."""
        name = f"{kind}_{len(self._nodes)}"
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names

    def weight(self, name: str) -> str:
        """One of the model's weights, under its own name and shared where it is float32 already."""
        if name not in self.initializers:
            self.initializers[name] = as_float32(self.weights[name])
        return name

    def derived(self, name: str, array: Array) -> str:
        """An array made from weights."""
        self.initializers[name] = as_float32(array)
        return name

    def constant(self, value: Array | Sequence[int] | float, dtype: type[np.generic]) -> str:
        """A small constant (a shape, an index, a number), kept inside the protobuf."""
        array = np.asarray(value, dtype)
        name = f"{array.dtype}{array.tolist()}"
        self._constants.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        """A constant list of int64, as shapes and axes are written."""
        return self.constant(values, np.int64)

    def number(self, value: float) -> str:
        """A constant float32."""
        return self.constant(value, np.float32)

    def reshape(self, x: str, *shape: int) -> str:
        """`x` in another shape; one size may be -1, what is left over."""
        return self.op("Reshape", x, self.ints(*shape))

    def size(self, x: str, axis: int) -> str:
        """The size of `x` along one axis, as int64 [1]."""
        return self.op("Shape", x, start=axis, end=axis + 1)

    def finish(
        self, name: str, output: str, shape: Sequence[int | str], **more: tuple[str, Sequence[int | str]]
    ) -> Graph:
        """The graph whose output `embedding` is `output`; `more` are further ones by name, with their shapes."""
        outputs = {"embedding": (output, shape), **more}
        self._nodes.extend(
            helper.make_node("Identity", [value], [title], name=title) for title, (value, _) in outputs.items()
        )
        graph = helper.make_graph(
            self._nodes,
            name,
            self._inputs,
            [helper.make_tensor_value_info(title, FLOAT, list(sizes)) for title, (_, sizes) in outputs.items()],
            [*self._constants.values(), *(declare(name, array) for name, array in self.initializers.items())],
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, producer_name="anmok", opset_imports=[opset], ir_version=IR_VERSION)
        return Graph(model, self.initializers)


def declare(name: str, array: Array) -> TensorProto:
    """An array that stays beside the protobuf, as the protobuf names it."""
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    _mark_external(tensor, UNSAVED, 0, array.nbytes)
    return tensor


def _mark_external(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
