"""Matrix products with weights in 8 bits: another graph that gives nearly the same embeddings in less time.

Two forms:

    per tensor   all of x has one scale, found beforehand on everyday things; each output of the weights has its own.
                 Plain ONNX (QuantizeLinear, DequantizeLinear), which engines run as products of integers. The fastest,
                 and coarse where a few channels are far larger than the rest.
    in blocks    each row of x and each output of the weights gets a scale for every 128 inputs (MatMulNBits of ONNX
                 Runtime, with 8-bit arithmetic). Slower, with hardly any loss.

In both an embedding does not depend on what else is in the batch.

Before that, what a layer norm gives is made even: channel j is divided by s_j in the norm's own weights, and column j
of the product that follows is multiplied by it. The result is the same; the rounding is smaller where a trained tower
has outlier channels (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438). The products that lose most, by what they do to
everyday things, are kept in blocks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from anmok.models.graphs.builder import Graph, declare
from anmok.processor import sums_8_bits_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from anmok.models.weights import Array

__all__ = ["Calibrated", "Product", "calibrate", "quantize"]

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
BLOCK = 128  # inputs that share a scale
SMALLEST = 64  # inputs and outputs: a product below it gains nothing
ROWS = 16  # of each product's input and batch that are kept to measure its loss
STRENGTHS = (0.0, 0.5, 0.75)  # how far what is uneven in x is moved into the weights


@dataclass(frozen=True)
class Product:
    """A matrix product with weights [out, in], and what everyday things put into it.

    `rows` [r, in]: a sample of its input; `low`, `high` [in]: of each channel; `norm`: weight and bias of the layer
    norm that feeds it and nothing else but such products.
    """

    node: str
    value: str
    weight: str
    rows: Array
    low: Array
    high: Array
    norm: tuple[str, str] | None


@dataclass(frozen=True)
class Calibrated:
    """A float32 graph, its products, and how each is best rounded: `strength`, `loss` (relative error) by node."""

    graph: Graph
    products: tuple[Product, ...]
    strength: Mapping[str, float]
    loss: Mapping[str, float]


def calibrate(graph: Graph, run: Callable[[Graph, list[str]], Iterator[list[Array]]]) -> Calibrated:
    """Look at what everyday things put into each product, and measure what rounding does to it.

    Args:
        graph: float32.
        run: runs a graph on a few things at a time and gives the values of these names, [rows, in] each.
    """
    nodes = {node.name: node for node in graph.model.graph.node if _is_product(node, graph)}
    values = list(dict.fromkeys(node.input[0] for node in nodes.values()))
    norms = _norms_of(graph, set(nodes))
    random = np.random.default_rng(0)
    low: dict[str, Array] = {}
    high: dict[str, Array] = {}
    samples: dict[str, list[Array]] = defaultdict(list)
    for batch in run(with_outputs(graph, values), values) if values else ():
        for value, x in zip(values, batch, strict=True):
            low[value] = np.minimum(low.get(value, x.min(axis=0)), x.min(axis=0))
            high[value] = np.maximum(high.get(value, x.max(axis=0)), x.max(axis=0))
            samples[value].append(x[random.permutation(len(x))[:ROWS]].copy())
    rows = {value: np.concatenate(parts) for value, parts in samples.items()}
    products = tuple(
        Product(name, x, node.input[1], rows[x], low[x], high[x], norms[name])
        for name, node in nodes.items()
        for x in [node.input[0]]
    )
    strength: dict[str, float] = {}
    loss: dict[str, float] = {}
    for together in _fed_alike(products):
        losses = {
            alpha: [_loss(one, graph, factors) for one in together]
            for alpha in (STRENGTHS if together[0].norm else (0.0,))
            for factors in [_factors(together, graph, alpha)]
        }
        best = min(losses, key=lambda alpha: sum(losses[alpha]))
        for one, lost in zip(together, losses[best], strict=True):
            strength[one.node], loss[one.node] = best, lost
    return Calibrated(graph, products, strength, loss)


def quantize(known: Calibrated, *, kept: float = 0.0, kept_in_blocks: bool = True) -> Graph:
    """The graph with its products in 8 bits.

    Args:
        known: what `calibrate` found.
        kept: the share of products, those that lose most first, that are not rounded per tensor; 1: all.
        kept_in_blocks: they are rounded in blocks, as ONNX Runtime can; else they stay in float.
    """
    arrays = dict(known.graph.initializers)
    factors = {}
    for together in _fed_alike(known.products):
        factors[together[0].value] = _factors(together, known.graph, known.strength[together[0].node])
        _smooth(arrays, together, factors[together[0].value])
    by_loss = sorted(known.products, key=lambda one: -known.loss[one.node])
    careful = {one.node for one in by_loss[: round(kept * len(by_loss))]}
    products = {one.node: one for one in known.products}
    model = onnx.ModelProto()
    model.CopyFrom(known.graph.model)
    del model.graph.node[:]
    codes: dict[str, str] = {}  # x → its 8 bits as float32 again, for all products it feeds
    for node in known.graph.model.graph.node:
        if node.name not in products or (node.name in careful and not kept_in_blocks):
            model.graph.node.append(node)
        elif node.name in careful:
            model.graph.node.append(_in_blocks(node, arrays))
        else:
            model.graph.node.extend(_per_tensor(node, products[node.name], arrays, codes, factors[node.input[0]]))
    model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    used = {name for node in model.graph.node for name in node.input}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items() if name in used}
    constants = [one for one in known.graph.model.graph.initializer if one.name not in known.graph.initializers]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*constants, *(declare(name, array) for name, array in arrays.items())])
    return Graph(model, arrays)


def with_outputs(graph: Graph, values: list[str]) -> Graph:
    """The same graph that also gives these values."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    given = {one.name for one in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values if value not in given)
    return Graph(model, graph.initializers)


# --- which products, and what feeds them


def _is_product(node: Any, graph: Graph) -> bool:
    weight = graph.initializers.get(node.input[1]) if node.op_type == "Gemm" else None
    return weight is not None and min(weight.shape) >= SMALLEST and weight.shape[1] % 16 == 0


def _norms_of(graph: Graph, products: set[str]) -> dict[str, tuple[str, str] | None]:
    """Of each product, weight and bias of the layer norm whose result goes into such products alone."""
    readers: dict[str, set[str]] = defaultdict(set)
    made_by = {name: node for node in graph.model.graph.node for name in node.output}
    for node in graph.model.graph.node:
        for value in node.input:
            readers[value].add(node.name)
    norms: dict[str, tuple[str, str] | None] = dict.fromkeys(products)
    for node in graph.model.graph.node:
        if node.name in products:
            maker = made_by.get(node.input[0])
            if maker is not None and maker.op_type == "LayerNormalization" and readers[node.input[0]] <= products:
                norms[node.name] = maker.input[1], maker.input[2]
    return norms


def _fed_alike(products: tuple[Product, ...]) -> list[list[Product]]:
    """Products by the value that feeds them."""
    groups: dict[str, list[Product]] = defaultdict(list)
    for one in products:
        groups[one.value].append(one)
    return list(groups.values())


# --- making channels even


def _factors(together: list[Product], graph: Graph, alpha: float) -> Array:
    """s_j = max|x_j|^α / max|w_j|^(1-α), around 1; ones for α = 0."""
    x = np.maximum(np.maximum(together[0].high, -together[0].low), 1e-5).astype(np.float64)
    if alpha == 0:
        return np.ones(len(x), np.float32)
    w = np.max([np.abs(graph.initializers[one.weight]).max(axis=0) for one in together], axis=0).astype(np.float64)
    factors = x**alpha / np.maximum(w, 1e-5) ** (1 - alpha)
    even: Array = (factors / np.exp(np.log(factors).mean())).astype(np.float32)
    return even


def _smooth(arrays: dict[str, Array], together: list[Product], factors: Array) -> None:
    for name in together[0].norm or ():
        arrays[name] = arrays[name] / factors
    for one in together if together[0].norm else ():
        arrays[one.weight] = arrays[one.weight] * factors


# --- rounding


def _loss(product: Product, graph: Graph, factors: Array) -> float:
    """Relative error of the product where x has one scale and each output of the weights its own."""
    x, w = product.rows / factors, graph.initializers[product.weight] * factors
    exact = x @ w.T
    step, _ = _step(product, factors)
    whole, scale = _per_output(w)
    found = (np.rint(x / step) * step) @ (whole.astype(np.float32) * scale[:, None]).T
    return float(np.linalg.norm(found - exact) / max(float(np.linalg.norm(exact)), 1e-12))


def _step(product: Product, factors: Array) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of x: everything that was seen fits into 0..255."""
    low, high = min(0.0, float((product.low / factors).min())), max(0.0, float((product.high / factors).max()))
    step = np.float32(max(high - low, 1e-12) / 255)
    return step, np.uint8(round(-low / float(step)))


def _per_output(w: Array) -> tuple[NDArray[np.int8], Array]:
    """Weights [out, in] as int8, and the scale of each output.

    Where the processor would cut off the sum of two products, 7 bits are used: coarser, but never far from the truth.
    """
    largest = 127 if sums_8_bits_exactly() else 63
    scale = (np.maximum(np.abs(w).max(axis=1), 1e-12) / largest).astype(np.float32)
    return np.rint(w / scale[:, None]).astype(np.int8), scale


def _per_tensor(
    node: Any, product: Product, arrays: dict[str, Array], codes: dict[str, str], factors: Array
) -> list[Any]:
    """The nodes that take the place of a Gemm; their arrays are added."""
    x, weight, *bias = node.input
    step, zero = _step(product, factors)
    whole, scale = _per_output(arrays[weight])
    arrays |= {f"{weight}.int8": whole, f"{weight}.scales": scale, f"{weight}.zeros": np.zeros(len(scale), np.int8)}
    nodes = []
    if x not in codes:
        arrays |= {f"{x}.scale": np.asarray(step), f"{x}.zero": np.asarray(zero)}
        codes[x] = f"{x}.rounded"
        nodes.append(helper.make_node("QuantizeLinear", [x, f"{x}.scale", f"{x}.zero"], [f"{x}.int8"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{x}.int8", f"{x}.scale", f"{x}.zero"], [codes[x]]))
    inputs = [codes[x], f"{weight}.rounded"]
    sources = [f"{weight}.int8", f"{weight}.scales", f"{weight}.zeros"]
    nodes.append(helper.make_node("DequantizeLinear", sources, [f"{weight}.rounded"], axis=0))
    if bias:
        name = f"{bias[0]}.of.{node.name}"  # a bias is added to the integers of this very product
        arrays[f"{name}.scales"] = scale * step
        arrays[f"{name}.int32"] = np.rint(arrays[bias[0]] / (scale * step)).astype(np.int32)
        arrays[f"{name}.zeros"] = np.zeros(len(scale), np.int32)
        sources = [f"{name}.int32", f"{name}.scales", f"{name}.zeros"]
        nodes.append(helper.make_node("DequantizeLinear", sources, [f"{name}.rounded"], axis=0))
        inputs.append(f"{name}.rounded")
    return [*nodes, helper.make_node("Gemm", inputs, list(node.output), node.name, transB=1)]


def _in_blocks(node: Any, arrays: dict[str, Array]) -> Any:
    """The node that takes the place of a Gemm; its arrays are added."""
    x, weight, *bias = node.input
    out, width = arrays[weight].shape
    padded = np.zeros((out, -(-width // BLOCK) * BLOCK), np.float32)
    padded[:, :width] = arrays[weight]
    blocks = padded.reshape(out, -1, BLOCK)
    scale = (np.maximum(np.abs(blocks).max(axis=2), 1e-12) / 127).astype(np.float32)
    arrays[f"{weight}.blocks"] = (np.rint(blocks / scale[:, :, None]) + 128).astype(np.uint8)
    arrays[f"{weight}.block_scales"] = scale.reshape(-1)
    inputs = [x, f"{weight}.blocks", f"{weight}.block_scales", *(["", "", *bias] if bias else [])]
    sizes = {"K": width, "N": out, "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
    return helper.make_node("MatMulNBits", inputs, list(node.output), node.name, domain=MICROSOFT, **sizes)
