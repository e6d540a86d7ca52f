"""The losses of many pairs from blocks of logits: the same numbers and gradients, in memory that grows with n alone.

A block of tile x tile logits is made, used and let go. What a softmax needs of them is a sum per row and per column;
what a sigmoid needs is known from each logit by itself. `losses.py` and `distributed.py` are built from these.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["full_precision", "group_means", "sigmoid_sums", "two_way_logsumexp", "widened", "with_gradients"]


def two_way_logsumexp(queries: Tensor, keys: Tensor, *, tile: int) -> tuple[Tensor, Tensor]:
    """log of the summed exp of the logits `queries @ keys.T`, over each row and over each column.

    The denominators of both softmaxes. Logits are made block by block, and made again for the backward pass.

    Args:
        queries: scaled vectors, [m, d].
        keys: [n, d].
        tile: rows and columns of a block.

    Returns:
        [m] and [n].
    """
    found: tuple[Tensor, Tensor] = _TwoWayLogSumExp.apply(queries, keys, tile)  # type: ignore[no-untyped-call]
    return found


class _TwoWayLogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, tile: int) -> tuple[Tensor, Tensor]:
        rows = queries.new_full((len(queries),), -math.inf)
        columns = queries.new_full((len(keys),), -math.inf)
        with full_precision(queries):
            for i, j in _blocks(len(queries), len(keys), tile):
                logits = queries[i] @ keys[j].T
                rows[i] = torch.logaddexp(rows[i], logits.logsumexp(dim=1))
                columns[j] = torch.logaddexp(columns[j], logits.logsumexp(dim=0))
        ctx.save_for_backward(queries, keys, rows, columns)
        ctx.tile = tile
        return rows, columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor, d_columns: Tensor) -> tuple[Tensor, Tensor, None]:
        queries, keys, rows, columns = ctx.saved_tensors
        d_queries, d_keys = torch.zeros_like(queries), torch.zeros_like(keys)
        with full_precision(queries):
            for i, j in _blocks(len(queries), len(keys), ctx.tile):
                logits = queries[i] @ keys[j].T
                d_logits = (logits - rows[i, None]).exp_().mul_(d_rows[i, None])
                d_logits += logits.sub_(columns[j]).exp_().mul_(d_columns[j])
                d_queries[i].addmm_(d_logits, keys[j])
                d_keys[j].addmm_(d_logits.T, queries[i])
        return d_queries, d_keys, None


@torch.no_grad()
def sigmoid_sums(
    queries: Tensor, keys: Tensor, bias: Tensor, query_groups: Tensor, key_groups: Tensor, *, tile: int
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The sum over all pairs of -log sigmoid(±(query · key + bias)), + where the groups are equal.

    Unlike a softmax, each pair stands for itself: its gradient is known as soon as its logit is, so that no second
    pass over the blocks is needed.

    Args:
        queries: scaled vectors, [m, d].
        keys: [n, d].
        bias: 0-d.
        query_groups: int64 [m].
        key_groups: int64 [n].
        tile: rows and columns of a block.

    Returns:
        The sum, and its gradients with respect to queries, keys and bias.
    """
    total, d_bias = torch.zeros_like(bias), torch.zeros_like(bias)
    d_queries, d_keys = torch.zeros_like(queries), torch.zeros_like(keys)
    for i, j in _blocks(len(queries), len(keys), tile):
        signs = torch.where(query_groups[i, None] == key_groups[j], 1.0, -1.0)
        logits = torch.addmm(bias, queries[i], keys[j].T).mul_(signs)  # the higher, the better
        total -= F.logsigmoid(logits).sum()
        d_logits = logits.neg_().sigmoid_().mul_(signs).neg_()
        d_queries[i].addmm_(d_logits, keys[j])
        d_keys[j].addmm_(d_logits.T, queries[i])
        d_bias += d_logits.sum()
    return total, (d_queries, d_keys, d_bias)


def with_gradients(total: Tensor, inputs: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Tensor:
    """`total` as a function of `inputs` whose `gradients` are known already."""
    result: Tensor = _WithGradients.apply(total, gradients, *inputs)  # type: ignore[no-untyped-call]
    return result


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, total: Tensor, gradients: tuple[Tensor, ...], *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*gradients)
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(upstream * gradient for gradient in ctx.saved_tensors)


def group_means(vectors: Tensor, groups: Tensor | None) -> Tensor:
    """Vectors [n, d] → [n, d]: for each row the mean of all rows of its group; None: each row is a group."""
    if groups is None:
        return vectors
    _, index, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    sums = vectors.new_zeros(len(counts), vectors.shape[1]).index_add(0, index, vectors)
    means: Tensor = sums / counts[:, None]
    return means[index]


def full_precision(vectors: Tensor) -> torch.autocast:
    """A `with` block on the vectors' device in which autocast is off."""
    return torch.autocast(vectors.device.type, enabled=False)


def widened(first: Tensor, second: Tensor, *numbers: Tensor) -> tuple[Tensor, ...]:
    """Two [n, d] and any 0-d tensors in the wider type of the two, at least float32."""
    dtype = reduce(torch.promote_types, (first.dtype, second.dtype), torch.float32)
    return first.to(dtype), second.to(dtype), *(number.reshape(()).to(dtype) for number in numbers)


def _blocks(rows: int, columns: int, tile: int) -> Iterator[tuple[slice, slice]]:
    """Slices of every block, row after row."""
    for i in range(0, rows, tile):
        for j in range(0, columns, tile):
            yield slice(i, i + tile), slice(j, j + tile)
