"""The bag of words, as in `modules/bag.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.models.graphs.blocks import linear, norm
from anmok.models.graphs.builder import FLOAT
from anmok.models.graphs.text import first_end, places

if TYPE_CHECKING:
    from anmok.models.graphs.builder import Builder
    from anmok.models.spec import BagSpec

__all__ = ["bag_of_words"]


def bag_of_words(g: Builder, spec: BagSpec) -> str:
    """Adds the input `ids` int64 [n, l], l up to `context_length`, and the tower; the result is [n, d]."""
    ids = g.input("ids", np.int64, ["n", "l"])
    embedded = g.op("Gather", g.weight("text.token_embedding.weight"), ids)  # [n, l, w]
    words = g.op("Cast", _words(g, spec, ids), to=FLOAT)  # [n, l]
    total = g.op("MatMul", g.op("Unsqueeze", words, g.ints(1)), embedded)  # [n, 1, w]
    count = g.op("ReduceSum", words, g.ints(1), keepdims=1)  # [n, 1]
    mean = g.op("Div", g.reshape(total, -1, spec.width), count)
    return linear(g, "text.projection", norm(g, "text.norm", mean, spec.norm_eps), bias=False)


def _words(g: Builder, spec: BagSpec, ids: str) -> str:
    """Which tokens are words: bool [n, l]. Of a text without words, its end."""
    place, first = places(g, g.size(ids, 1)), int(spec.start_of_text)
    end = g.op("Max", first_end(g, ids, spec.eos_token), g.ints(first + 1))  # [n, 1]
    return g.op("And", g.op("GreaterOrEqual", place, g.ints(first)), g.op("Less", place, end))
