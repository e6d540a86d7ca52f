"""The text transformer, as in `modules/text.py`, with only the pooled token in the last block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.blocks import Batch, block, last_block, linear, norm, visible
from anmok.models.graphs.builder import INT32
from anmok.models.spec import BagSpec

if TYPE_CHECKING:
    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import TextSpec, WordsSpec

__all__ = ["first_end", "places", "text_transformer", "trims"]


def trims(spec: WordsSpec) -> bool:
    """Whether texts may be cut to the longest of a batch with the same result.

    What is after the end of a text must not be seen: by a causal tower pooled there, or a bag of words.
    SigLIP's was trained on full-length texts, padding included, and looks at all of it.
    """
    return isinstance(spec, BagSpec) or (spec.causal and spec.pool == "eos")


def text_transformer(g: Builder, spec: TextSpec) -> str:
    """Adds the input `ids` int64 [n, l] and the tower; the result is [n, d].

    l is free up to `context_length` where `trims(spec)`, else `context_length`.
    """
    length = None if trims(spec) else spec.context_length
    ids = g.input("ids", np.int64, ["n", length or "l"])
    x = g.op("Gather", g.weight("text.token_embedding.weight"), ids)  # [n, l, w]
    positions = g.weight("text.position_embedding")
    if length is None:
        positions = g.op("Slice", positions, g.ints(0), g.size(ids, 1))
        batch = Batch(None, (g.size(ids, 0), g.size(ids, 1)))
    else:
        batch = Batch(length)
    x = g.reshape(g.op("Add", x, positions), -1, spec.width)
    row = _pooled_row(g, spec, ids)  # [n, 1]
    place = places(g, ids) if spec.causal else None
    mask = None if place is None else visible(g, _not_after(g, place, g.op("Unsqueeze", place, g.ints(1))))
    row_mask = None if place is None else visible(g, g.op("Unsqueeze", _not_after(g, place, row), g.ints(1, 2)))
    for i in range(spec.layers - 1):
        x = block(g, f"text.blocks.{i}", x, batch, spec, mask=mask)  # mask [l, l]
    x = last_block(g, f"text.blocks.{spec.layers - 1}", x, batch, spec, row=row, mask=row_mask)  # mask [n, 1, 1, l]
    x = norm(g, "text.norm", x, spec.norm_eps)
    return linear(g, "text.projection", x, bias=spec.projection_bias)


def first_end(g: Builder, ids: str, eos_token: int) -> str:
    """Where each text ends: the place of the first end-of-text token, int64 [n, 1]."""
    ends = g.op("Cast", g.op("Equal", ids, g.ints(eos_token)), to=INT32)
    return g.op("ArgMax", ends, axis=1, keepdims=1)  # the first of equals


def places(g: Builder, ids: str) -> str:
    """0, 1, … l-1."""
    length = g.op("Squeeze", g.size(ids, 1))
    return g.op("Range", g.constant(0, np.int64), length, g.constant(1, np.int64))


def _pooled_row(g: Builder, spec: TextSpec, ids: str) -> str:
    """Which token of each text stands for the whole: int64 [n, 1]."""
    if spec.pool == "last":
        shape = g.op("Concat", g.size(ids, 0), g.ints(1), axis=0)
        return g.op("Expand", g.op("Sub", g.size(ids, 1), g.ints(1)), shape)
    return first_end(g, ids, spec.eos_token)


def _not_after(g: Builder, places: str, own: str) -> str:
    """A token sees itself and those before it: bool [..., l]."""
    return g.op("LessOrEqual", places, own)
