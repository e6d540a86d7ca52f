"""The transformer block, as in `modules/blocks.py`.

Tokens lie as the rows of one matrix [n*l, w]: then every linear map is one Gemm, which takes the
weights [out, in] as they are, without a transposed copy. Only attention looks at n and l apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import Activation, TextSpec, VitSpec

__all__ = [
    "Batch",
    "Past",
    "activate",
    "attend",
    "block",
    "heads",
    "last_block",
    "linear",
    "mlp",
    "norm",
    "unmixed",
    "visible",
]

HIDDEN = float(np.finfo(np.float32).min)  # added to the attention score of what must not be seen


@dataclass(frozen=True)
class Batch:
    """How the rows of a token matrix [n*l, w] fall into n pictures or texts of l tokens each."""

    length: int | None  # l where it is fixed
    sizes: tuple[str, str] | None = None  # else: the names of n and l, int64 [1] each

    def unflatten(self, g: Builder, x: str, *tail: int) -> str:
        """[n*l, w] → [n, l, *tail]."""
        if self.length is not None:
            return g.reshape(x, -1, self.length, *tail)
        assert self.sizes is not None
        return g.op("Reshape", x, g.op("Concat", *self.sizes, g.ints(*tail), axis=0))


class Past:
    """Keys and values of tokens that stand before those of every text of a batch, layer by layer.

    `before` [layers, 2, h, p, w/h]; p may be 0. `seen` collects, per layer, those of the first text of the batch,
    [2, h, l, w/h]: what a next batch is given as `before`.
    """

    def __init__(self, g: Builder, before: str, rows: str) -> None:
        self._g, self._before, self._rows = g, before, rows
        self.seen: list[str] = []

    def joined(self, keys: str, values: str) -> tuple[str, str]:
        """Keys and values [n, h, l, w/h] with those before them: [n, h, p + l, w/h]. Once per layer, in order."""
        g = self._g
        before = g.op("Gather", self._before, g.constant(len(self.seen), np.int64), axis=0)  # [2, h, p, w/h]
        first = [g.op("Slice", part, g.ints(0), g.ints(1), g.ints(0)) for part in (keys, values)]
        self.seen.append(g.op("Concat", *first, axis=0))
        to_all = g.op("Concat", self._rows, g.ints(1, 1, 1), axis=0)
        halves = g.ops("Split", before, outputs=2, axis=0, num_outputs=2)  # [1, h, p, w/h] each
        return tuple(  # type: ignore[return-value]
            g.op("Concat", g.op("Expand", half, to_all), part, axis=2)
            for half, part in zip(halves, (keys, values), strict=True)
        )

    def all_seen(self) -> str:
        """[layers, 2, h, l, w/h]."""
        g = self._g
        return g.op("Concat", *(g.op("Unsqueeze", layer, g.ints(0)) for layer in self.seen), axis=0)


def block(
    g: Builder,
    name: str,
    x: str,
    batch: Batch,
    spec: VitSpec | TextSpec,
    *,
    mask: str | None = None,
    past: Past | None = None,
) -> str:
    """One layer for all tokens: [n*l, w] → [n*l, w]; `mask` is added to the scores [n, h, l, p + l]."""
    qkv = linear(g, f"{name}.attention.qkv", norm(g, f"{name}.norm1", x, spec.norm_eps))
    q, k, v = g.ops("Split", qkv, outputs=3, axis=1, num_outputs=3)
    q, k, v = (heads(g, part, batch, spec.heads, spec.width) for part in (q, k, v))
    if past is not None:
        k, v = past.joined(k, v)
    mixed = attend(g, q, k, v, head_width=spec.width // spec.heads, mask=mask)
    mixed = g.reshape(g.op("Transpose", mixed, perm=[0, 2, 1, 3]), -1, spec.width)
    return _finish(g, name, x, mixed, spec)


def last_block(
    g: Builder,
    name: str,
    x: str,
    batch: Batch,
    spec: VitSpec | TextSpec,
    *,
    row: str,
    mask: str | None = None,
    past: Past | None = None,
) -> str:
    """The layer before pooling, for the one row of each picture or text that is kept: → [n, w].

    All tokens give keys and values, but only the pooled one asks and goes on. `row` int64
    [n, 1] says which; `mask` is added to the scores [n, h, 1, p + l].
    """
    w = spec.width
    normed = norm(g, f"{name}.norm1", x, spec.norm_eps)
    q = g.op("Gemm", _pick(g, normed, row, batch, w), *_part(g, f"{name}.attention.qkv", "q", 0, w), transB=1)
    q = g.reshape(q, -1, spec.heads, 1, w // spec.heads)
    kv = g.op("Gemm", normed, *_part(g, f"{name}.attention.qkv", "kv", w, 3 * w), transB=1)
    k, v = (heads(g, part, batch, spec.heads, w) for part in g.ops("Split", kv, outputs=2, axis=1, num_outputs=2))
    if past is not None:
        k, v = past.joined(k, v)
    mixed = attend(g, q, k, v, head_width=w // spec.heads, mask=mask)
    return _finish(g, name, _pick(g, x, row, batch, w), g.reshape(mixed, -1, w), spec)


def unmixed(g: Builder, name: str, x: str, spec: VitSpec) -> str:
    """What a layer's attention gives for each token if it looks at itself alone: [n*l, w] → [n*l, w].

    Neither residual nor MLP: see `models/dense.py`.
    """
    normed, w = norm(g, f"{name}.norm1", x, spec.norm_eps), spec.width
    value = g.op("Gemm", normed, *_part(g, f"{name}.attention.qkv", "v", 2 * w, 3 * w), transB=1)
    return linear(g, f"{name}.attention.out", value)


def attend(g: Builder, q: str, k: str, v: str, *, mask: str | None = None, head_width: int) -> str:
    """softmax(QKᵀ / √(w/h) + mask) V: queries [n, h, q, w/h], keys and values [n, h, l, w/h] → [n, h, q, w/h]."""
    q = g.op("Mul", q, g.number(head_width**-0.5))
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    if mask is not None:
        scores = g.op("Add", scores, mask)
    return g.op("MatMul", g.op("Softmax", scores, axis=-1), v)


def heads(g: Builder, x: str, batch: Batch, count: int, width: int) -> str:
    """[n*l, w] → [n, h, l, w/h]."""
    return g.op("Transpose", batch.unflatten(g, x, count, width // count), perm=[0, 2, 1, 3])


def norm(g: Builder, name: str, x: str, eps: float) -> str:
    """Layer norm over the last axis."""
    return g.op("LayerNormalization", x, g.weight(f"{name}.weight"), g.weight(f"{name}.bias"), axis=-1, epsilon=eps)


def linear(g: Builder, name: str, x: str, *, bias: bool = True) -> str:
    """[rows, in] → [rows, out]."""
    inputs = [x, g.weight(f"{name}.weight"), *([g.weight(f"{name}.bias")] if bias else [])]
    return g.op("Gemm", *inputs, transB=1)


def mlp(g: Builder, name: str, x: str, activation: Activation) -> str:
    """[rows, w] → [rows, w]."""
    return linear(g, f"{name}.down", activate(g, linear(g, f"{name}.up", x), activation))


def activate(g: Builder, x: str, activation: Activation) -> str:
    """Elementwise, any shape."""
    if activation == "quick_gelu":
        return g.op("Mul", x, g.op("Sigmoid", g.op("Mul", x, g.number(1.702))))
    return g.op("Gelu", x, approximate="tanh" if activation == "gelu_tanh" else "none")


def visible(g: Builder, seen: str) -> str:
    """Booleans (true: may be seen) → what is added to attention scores, of the same shape."""
    return g.op("Where", seen, g.number(0.0), g.number(HIDDEN))


def _finish(g: Builder, name: str, x: str, mixed: str, spec: VitSpec | TextSpec) -> str:
    """The rest of a block after attention: [rows, w] → [rows, w]."""
    x = g.op("Add", x, linear(g, f"{name}.attention.out", mixed))
    return g.op("Add", x, mlp(g, f"{name}.mlp", norm(g, f"{name}.norm2", x, spec.norm_eps), spec.activation))


def _pick(g: Builder, x: str, row: str, batch: Batch, width: int) -> str:
    """One row of each picture or text: [n*l, w] → [n, w]."""
    return g.op("GatherND", batch.unflatten(g, x, width), row, batch_dims=1)


def _part(g: Builder, name: str, part: str, start: int, stop: int) -> tuple[str, str]:
    """Weight and bias of some outputs of a linear map. A slice of rows shares the memory of the whole."""
    return (
        g.derived(f"{name}.weight.{part}", g.weights[f"{name}.weight"][start:stop]),
        g.derived(f"{name}.bias.{part}", g.weights[f"{name}.bias"][start:stop]),
    )
