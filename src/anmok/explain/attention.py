"""Heat maps from the attention of a transformer: rollout, relevance and LeGrad.

    rollout     where information of the picture could flow to the embedding, whatever the text says
    relevance   the same with each attention weighted by the gradient of the score
    legrad      gradients of the score of the last layers, by themselves

Each takes a `Trace` and, but for rollout, the direction [d] whose score `cos(embedding, toward)` is explained. Each
returns numbers of at least 0 per patch, [r, c].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from anmok.explain.trace import recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    from anmok.explain.trace import Trace

__all__ = ["embedding_of", "legrad", "relevance", "rollout"]

LAST = 2  # layers that LeGrad looks at, as its authors' code does


def rollout(trace: Trace) -> Tensor:
    """Attention, multiplied from layer to layer with half of it passing by (the residual).

    Source: Quantifying Attention Flow in Transformers (Abnar and Zuidema 2020, arXiv 2005.00928, equation 1).
    A MAP head's own attention is the last layer; a mean looks at every token alike.
    """
    length = trace.attention[0].shape[-1]
    flow = torch.eye(length)
    for weights in trace.attention:
        flow = (0.5 * weights[0].detach().mean(dim=0) + 0.5 * torch.eye(length)) @ flow
    pooling = None if trace.pooling is None else trace.pooling[0].detach().mean(dim=0)
    return trace.cells(_read_out(trace, flow, pooling))


def relevance(trace: Trace, toward: Tensor) -> Tensor:
    """Rollout in which only what raises the score counts: attention times its gradient, where that is positive.

    Source: Generic Attention-model Explainability (Chefer, Gur and Wolf 2021, arXiv 2103.15679): equations 5 and 6
    for the blocks; 8 to 10 for a MAP head, whose probe is a token of another kind.
    """
    weights = trace.attention + ([] if trace.pooling is None else [trace.pooling])
    gradients = torch.autograd.grad(_cosine(trace.embedding, toward), weights, retain_graph=True)
    weighted = [(a.detach() * g)[0].clamp(min=0).mean(dim=0) for a, g in zip(weights, gradients, strict=True)]
    length = trace.attention[0].shape[-1]
    flow = torch.eye(length)
    for step in weighted[: len(trace.attention)]:
        flow = flow + step @ flow
    if trace.pooling is None:
        return trace.cells(_read_out(trace, flow - torch.eye(length), None))
    passed = flow - torch.eye(length)
    passed = passed / passed.sum(dim=1, keepdim=True).clamp(min=1e-12) + torch.eye(length)
    return trace.cells(_read_out(trace, passed, weighted[-1]))


def legrad(
    trace: Trace,
    toward: Tensor,
    *,
    last: int = LAST,
    head: Callable[[Trace, Tensor], Tensor] | None = None,
) -> Tensor:
    """Gradients of the score of each of the last layers with respect to that layer's attention.

    A layer's score is that of the embedding which the tower's own end (`embedding_of`) makes of its tokens. Positive
    gradients are averaged over heads and queries and summed over layers. With a MAP head, whose attention looks at all
    patches, they are taken with respect to that.

    Source: LeGrad (Bousselham et al. 2024, arXiv 2404.03214, section 3), and its authors' code for what stands for a
    layer's embedding: for CLIP the mean of all tokens. Their code puts a MAP head on tokens that are not yet
    normalized, and leaves out places that stand out for an empty text, too; here the tower is used as it is.

    Args:
        trace: of a run.
        toward: [d].
        last: how many layers.
        head: in place of `embedding_of`, tokens [1, l, w] → [d].
    """
    total = torch.zeros(trace.grid)
    for tokens, attention in list(zip(trace.tokens, trace.attention, strict=True))[-last:]:
        with recorded(trace.tower) as pooling:
            score = _cosine((head or embedding_of)(trace, tokens), toward)
        of = pooling[0] if pooling else attention
        (gradient,) = torch.autograd.grad(score, [of], retain_graph=True)
        total += trace.cells(gradient[0].clamp(min=0).mean(dim=(0, 1)))
    return total


def embedding_of(trace: Trace, tokens: Tensor) -> Tensor:
    """The tower's end for the tokens of any layer, [1, l, w] → [d], not normalized."""
    tower, spec = trace.tower, trace.tower.spec
    if spec.pool == "map":
        pooled = tower.pool(tower.norm(tokens))
    elif spec.pool == "cls":
        pooled = tower.norm(tokens.mean(dim=1))
    else:
        pooled = tower.norm(tokens[:, int(spec.class_token) :]).mean(dim=1)
    embedded: Tensor = tower.projection(pooled) if spec.projection else pooled
    return embedded[0]


def _read_out(trace: Trace, flow: Tensor, pooling: Tensor | None) -> Tensor:
    """What the embedding has of each token, [l], where tokens have `flow` [l, l] of each other."""
    spec = trace.tower.spec
    if pooling is not None:
        return (pooling @ flow)[0]
    return flow[0] if spec.pool == "cls" else flow[int(spec.class_token) :].mean(dim=0)


def _cosine(embedding: Tensor, toward: Tensor) -> Tensor:
    return F.normalize(embedding, dim=-1) @ toward
