"""Name and shape of every array of each tower, without the tower's own name before it, in reading order.

`spec.weight_shapes` joins two of these. Linear weights are [out, in].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.models.plan import Convolution, Residual, Squeeze, channels_of, hybrid_stem, plan

if TYPE_CHECKING:
    from anmok.models.plan import Layer
    from anmok.models.spec import BagSpec, CnnSpec, HybridSpec, ResNetSpec, TextSpec, VitSpec

__all__ = ["Shape", "bag", "cnn", "hybrid", "resnet", "text", "vit"]

Shape = tuple[int, ...]


def vit(spec: VitSpec, dimension: int) -> dict[str, Shape]:
    """The vision transformer."""
    shapes: dict[str, Shape] = {"patch_embedding.weight": (spec.width, 3, spec.patch_size, spec.patch_size)}
    if spec.patch_bias:
        shapes["patch_embedding.bias"] = (spec.width,)
    return shapes | _vit_after_patches(spec, dimension)


def hybrid(spec: HybridSpec, dimension: int) -> dict[str, Shape]:
    """The vision transformer with convolutions before it."""
    shapes: dict[str, Shape] = {}
    for i, layer in enumerate(hybrid_stem(spec)):
        shapes |= _layer(f"patch_embedding.stem.{i}", layer)
    shapes |= _convolution("patch_embedding.projection", spec.width, spec.stem[-1], 1)
    shapes["patch_embedding.projection.bias"] = (spec.width,)
    return shapes | _vit_after_patches(spec.vit, dimension)


def text(spec: TextSpec, dimension: int) -> dict[str, Shape]:
    """The text transformer."""
    w = spec.width
    shapes: dict[str, Shape] = {
        "token_embedding.weight": (spec.vocabulary, w),
        "position_embedding": (spec.context_length, w),
    }
    shapes |= _blocks(spec.layers, w, spec.mlp_width)
    shapes |= _norm("norm", w)
    shapes["projection.weight"] = (dimension, w)
    if spec.projection_bias:
        shapes["projection.bias"] = (dimension,)
    return shapes


def bag(spec: BagSpec, dimension: int) -> dict[str, Shape]:
    """The bag of words."""
    shapes: dict[str, Shape] = {"token_embedding.weight": (spec.vocabulary, spec.width)}
    return shapes | _norm("norm", spec.width) | {"projection.weight": (dimension, spec.width)}


def cnn(spec: CnnSpec, dimension: int) -> dict[str, Shape]:
    """The plain convolutional networks."""
    stages = plan(spec)
    shapes: dict[str, Shape] = {}
    for i, stage in enumerate(stages):
        for j, layer in enumerate(stage):
            shapes |= _layer(f"stages.{i}.{j}", layer)
    return shapes | {"projection.weight": (dimension, channels_of(stages))}


def resnet(spec: ResNetSpec, dimension: int) -> dict[str, Shape]:
    """CLIP's ModifiedResNet."""
    half = spec.width // 2
    shapes: dict[str, Shape] = {}
    for i, (inputs, outputs) in enumerate([(3, half), (half, half), (half, spec.width)], start=1):
        shapes |= _convolution(f"stem.conv{i}", outputs, inputs, 3) | _batch_norm(f"stem.norm{i}", outputs)
    inputs = spec.width
    for stage, depth in enumerate(spec.layers):
        planes = spec.width * 2**stage
        for block in range(depth):
            name = f"stages.{stage}.{block}"
            shapes |= _convolution(f"{name}.conv1", planes, inputs, 1) | _batch_norm(f"{name}.norm1", planes)
            shapes |= _convolution(f"{name}.conv2", planes, planes, 3) | _batch_norm(f"{name}.norm2", planes)
            shapes |= _convolution(f"{name}.conv3", planes * 4, planes, 1) | _batch_norm(f"{name}.norm3", planes * 4)
            if block == 0:  # the shortcut changes its width (and, past the first stage, its size)
                shapes |= _convolution(f"{name}.shortcut.conv", planes * 4, inputs, 1)
                shapes |= _batch_norm(f"{name}.shortcut.norm", planes * 4)
            inputs = planes * 4
    shapes["pool.position_embedding"] = (spec.grid**2 + 1, spec.features)
    for part in ("query", "key", "value"):
        shapes[f"pool.{part}.weight"] = (spec.features, spec.features)
        shapes[f"pool.{part}.bias"] = (spec.features,)
    shapes["pool.out.weight"] = (dimension, spec.features)
    shapes["pool.out.bias"] = (dimension,)
    return shapes


def _vit_after_patches(spec: VitSpec, dimension: int) -> dict[str, Shape]:
    w = spec.width
    shapes: dict[str, Shape] = {"class_embedding": (w,)} if spec.class_token else {}
    shapes["position_embedding"] = (spec.positions, w)
    if spec.pre_norm:
        shapes |= _norm("pre_norm", w)
    shapes |= _blocks(spec.layers, w, spec.mlp_width)
    shapes |= _norm("norm", w)
    if spec.pool == "map":
        shapes["pool.probe"] = (w,)
        shapes |= _attention("pool.attention", w)
        shapes |= _norm("pool.norm", w)
        shapes |= _mlp("pool.mlp", w, spec.mlp_width)
    if spec.projection:
        shapes["projection.weight"] = (dimension, w)
    return shapes


def _blocks(layers: int, width: int, mlp_width: int) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for i in range(layers):
        shapes |= _norm(f"blocks.{i}.norm1", width)
        shapes |= _attention(f"blocks.{i}.attention", width)
        shapes |= _norm(f"blocks.{i}.norm2", width)
        shapes |= _mlp(f"blocks.{i}.mlp", width, mlp_width)
    return shapes


def _attention(name: str, width: int) -> dict[str, Shape]:
    return {
        f"{name}.qkv.weight": (3 * width, width),
        f"{name}.qkv.bias": (3 * width,),
        f"{name}.out.weight": (width, width),
        f"{name}.out.bias": (width,),
    }


def _mlp(name: str, width: int, mlp_width: int) -> dict[str, Shape]:
    return {
        f"{name}.up.weight": (mlp_width, width),
        f"{name}.up.bias": (mlp_width,),
        f"{name}.down.weight": (width, mlp_width),
        f"{name}.down.bias": (width,),
    }


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _layer(name: str, layer: Layer) -> dict[str, Shape]:
    """One layer of a plan; a pool has no weights."""
    if isinstance(layer, Convolution):
        shapes = _convolution(f"{name}.conv", layer.outputs, layer.inputs // layer.groups, layer.side)
        bias: dict[str, Shape] = {f"{name}.conv.bias": (layer.outputs,)}
        return shapes | (_batch_norm(f"{name}.norm", layer.outputs) if layer.norm else bias)
    if isinstance(layer, Squeeze):
        down: dict[str, Shape] = {
            f"{name}.down.weight": (layer.hidden, layer.width),
            f"{name}.down.bias": (layer.hidden,),
        }
        return down | {f"{name}.up.weight": (layer.width, layer.hidden), f"{name}.up.bias": (layer.width,)}
    if isinstance(layer, Residual):
        shapes = {}
        for i, inner in enumerate(layer.body):
            shapes |= _layer(f"{name}.body.{i}", inner)
        return shapes | (_layer(f"{name}.shortcut", layer.shortcut) if layer.shortcut else {})
    return {}


def _convolution(name: str, outputs: int, inputs: int, side: int) -> dict[str, Shape]:
    return {f"{name}.weight": (outputs, inputs, side, side)}


def _batch_norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
