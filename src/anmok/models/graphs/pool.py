"""From many tokens to one vector by attention, as in `modules/pool.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.blocks import Batch, attend, heads, linear, mlp, norm
from anmok.models.weights import as_float32

if TYPE_CHECKING:
    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import ResNetSpec, VitSpec

__all__ = ["attention_pool", "each_cell", "each_token", "map_pool"]


def map_pool(g: Builder, name: str, x: str, batch: Batch, spec: VitSpec, *, mask: str | None = None) -> str:
    """SigLIP's probe put to all tokens: [n*l, w] → [n, w]; `mask` is added to the scores [n, h, 1, l].

    The probe is the same for every picture, so its query is worked out here, once.
    """
    w = spec.width
    weight, bias = (as_float32(g.weights[f"{name}.attention.qkv.{part}"]) for part in ("weight", "bias"))
    query = weight[:w] @ as_float32(g.weights[f"{name}.probe"]) + bias[:w]
    q = g.derived(f"{name}.query", query.reshape(1, spec.heads, 1, w // spec.heads))
    kv_weight = g.derived(f"{name}.attention.qkv.weight.kv", weight[w:])
    kv_bias = g.derived(f"{name}.attention.qkv.bias.kv", bias[w:])
    kv = g.op("Gemm", x, kv_weight, kv_bias, transB=1)
    k, v = (heads(g, part, batch, spec.heads, w) for part in g.ops("Split", kv, outputs=2, axis=1, num_outputs=2))
    mixed = g.reshape(attend(g, q, k, v, head_width=w // spec.heads, mask=mask), -1, w)
    return _finish(g, name, mixed, spec)


def each_token(g: Builder, name: str, x: str, spec: VitSpec) -> str:
    """What `map_pool` would give if the probe looked at one token alone, for each: [n*l, w] → [n*l, w]."""
    w = spec.width
    weight, bias = (
        g.derived(f"{name}.attention.qkv.{part}.v", g.weights[f"{name}.attention.qkv.{part}"][2 * w :])
        for part in ("weight", "bias")
    )
    return _finish(g, name, g.op("Gemm", x, weight, bias, transB=1), spec)


def _finish(g: Builder, name: str, mixed: str, spec: VitSpec) -> str:
    """The rest of the pool after attention: [rows, w] → [rows, w]."""
    x = linear(g, f"{name}.attention.out", mixed)
    return g.op("Add", x, mlp(g, f"{name}.mlp", norm(g, f"{name}.norm", x, spec.norm_eps), spec.activation))


def attention_pool(g: Builder, name: str, x: str, spec: ResNetSpec) -> str:
    """The pooling of CLIP's ResNet: feature map [n, c, h, w] → [n, d]. Only the mean asks."""
    c, cells = spec.features, spec.grid**2
    tokens = g.op("Transpose", g.reshape(x, -1, c, cells), perm=[0, 2, 1])  # [n, h*w, c]
    mean = g.op("ReduceMean", tokens, g.ints(1), keepdims=1)
    tokens = g.op("Add", g.op("Concat", mean, tokens, axis=1), g.weight(f"{name}.position_embedding"))
    asking = g.reshape(g.op("Gather", tokens, g.constant(0, np.int64), axis=1), -1, c)
    tokens, batch = g.reshape(tokens, -1, c), Batch(cells + 1)
    q = g.reshape(linear(g, f"{name}.query", asking), -1, spec.heads, 1, c // spec.heads)
    k, v = (heads(g, linear(g, f"{name}.{part}", tokens), batch, spec.heads, c) for part in ("key", "value"))
    return linear(g, f"{name}.out", g.reshape(attend(g, q, k, v, head_width=c // spec.heads), -1, c))


def each_cell(g: Builder, name: str, x: str, spec: ResNetSpec) -> str:
    """What `attention_pool` would give if the mean looked at one cell alone: [n, c, h, w] → [n, h, w, d]."""
    c, grid = spec.features, spec.grid
    cells = g.op("Transpose", g.reshape(x, -1, c, grid**2), perm=[0, 2, 1])  # [n, h*w, c]
    positions = as_float32(g.weights[f"{name}.position_embedding"])[1:]  # the first is the mean's
    cells = g.reshape(g.op("Add", cells, g.derived(f"{name}.position_embedding.cells", positions)), -1, c)
    each = linear(g, f"{name}.out", linear(g, f"{name}.value", cells))
    return g.reshape(each, -1, grid, grid, len(g.weights[f"{name}.out.weight"]))
