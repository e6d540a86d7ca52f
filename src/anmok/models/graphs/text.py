"""The text transformer, as in `modules/text.py`, with only the pooled token in the last block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.blocks import Batch, Past, block, last_block, linear, norm, visible
from anmok.models.graphs.builder import INT32

if TYPE_CHECKING:
    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import TextSpec

__all__ = ["first_end", "places", "text_transformer"]


def text_transformer(g: Builder, spec: TextSpec, *, shares_beginnings: bool = False) -> tuple[str, str | None]:
    """Adds the input `ids` int64 [n, l] and the tower; the result is [n, d].

    l is free up to `context_length` where `spec.trims`, else `context_length`.

    With `shares_beginnings`, for a tower that trims, there is a second input `past` float32 [layers, 2, h, p, w/h],
    what the p tokens that all texts begin with have left in every layer, and a second result, what the tokens of the
    first text leave there. A causal tower's token depends on those before it alone, so nothing else changes.
    """
    length = None if spec.trims else spec.context_length
    ids = g.input("ids", np.int64, ["n", length or "l"])
    x = g.op("Gather", g.weight("text.token_embedding.weight"), ids)  # [n, l, w]
    positions = g.weight("text.position_embedding")
    past, before = None, g.ints(0)
    if shares_beginnings:
        states = g.input("past", np.float32, [spec.layers, 2, spec.heads, "p", spec.width // spec.heads])
        past, before = Past(g, states, g.size(ids, 0)), g.size(states, 3)
    if length is None:
        positions = g.op("Slice", positions, before, g.op("Add", before, g.size(ids, 1)))
        batch = Batch(None, (g.size(ids, 0), g.size(ids, 1)))
    else:
        batch = Batch(length)
    x = g.reshape(g.op("Add", x, positions), -1, spec.width)
    row = _pooled_row(g, spec, ids)  # [n, 1]
    mask = row_mask = None
    if spec.causal:
        own = g.op("Add", before, places(g, g.size(ids, 1)))  # [l]
        seen = places(g, g.op("Add", before, g.size(ids, 1)))  # [p + l]
        mask = visible(g, _not_after(g, seen, g.op("Unsqueeze", own, g.ints(1))))
        row_mask = visible(g, g.op("Unsqueeze", _not_after(g, seen, g.op("Add", before, row)), g.ints(1, 2)))
    for i in range(spec.layers - 1):
        x = block(g, f"text.blocks.{i}", x, batch, spec, mask=mask, past=past)  # mask [l, p + l]
    last = f"text.blocks.{spec.layers - 1}"
    x = last_block(g, last, x, batch, spec, row=row, mask=row_mask, past=past)  # mask [n, 1, 1, p + l]
    x = norm(g, "text.norm", x, spec.norm_eps)
    return linear(g, "text.projection", x, bias=spec.projection_bias), None if past is None else past.all_seen()


def first_end(g: Builder, ids: str, eos_token: int) -> str:
    """Where each text ends: the place of the first end-of-text token, int64 [n, 1]."""
    ends = g.op("Cast", g.op("Equal", ids, g.ints(eos_token)), to=INT32)
    return g.op("ArgMax", ends, axis=1, keepdims=1)  # the first of equals


def places(g: Builder, length: str) -> str:
    """0, 1, … l-1 for a length int64 [1]."""
    return g.op("Range", g.constant(0, np.int64), g.op("Squeeze", length), g.constant(1, np.int64))


def _pooled_row(g: Builder, spec: TextSpec, ids: str) -> str:
    """Which token of each text stands for the whole: int64 [n, 1]."""
    if spec.pool == "last":
        shape = g.op("Concat", g.size(ids, 0), g.ints(1), axis=0)
        return g.op("Expand", g.op("Sub", g.size(ids, 1), g.ints(1)), shape)
    return first_end(g, ids, spec.eos_token)


def _not_after(g: Builder, places: str, own: str) -> str:
    """A token sees itself and those before it: bool [..., l]."""
    return g.op("LessOrEqual", places, own)
