"""Maps from attention: equal to the authors' code, and to the equations written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from anmok.explain.attention import embedding_of, legrad, relevance, rollout
from anmok.explain.trace import trace
from anmok.models.modules import from_weights

from .making import CLIP, PATCH, SIDE, SIGLIP, pixels, text, weights_of

GRID = (SIDE // PATCH, SIDE // PATCH)
EXPECTED = np.load(Path(__file__).parent / "legrad.npz")


def traced(spec):
    tower = from_weights(spec, weights_of(spec)).image.requires_grad_(False)
    return trace(tower, (torch.from_numpy(pixels()),), GRID), torch.from_numpy(text(spec)[0])


def spread(grid: torch.Tensor) -> torch.Tensor:
    return (grid - grid.min()) / (grid.max() - grid.min())


def enlarged(grid: torch.Tensor) -> torch.Tensor:
    return F.interpolate(grid[None, None], scale_factor=PATCH, mode="bilinear")[0, 0]


def test_legrad_of_a_clip_is_that_of_its_authors():
    ran, toward = traced(CLIP)
    assert np.abs(spread(enlarged(legrad(ran, toward))).numpy() - EXPECTED["clip"]).max() < 1e-4


def test_legrad_of_a_siglip_is_that_of_its_authors_where_the_head_sees_raw_tokens():
    ran, toward = traced(SIGLIP)
    theirs = legrad(ran, toward, head=lambda ran, tokens: ran.tower.pool(tokens)[0])
    assert np.abs(enlarged(spread(theirs)).numpy() - EXPECTED["siglip"]).max() < 1e-4
    assert np.abs(enlarged(spread(legrad(ran, toward))).numpy() - EXPECTED["siglip"]).max() > 0.1


@pytest.mark.parametrize("spec", [CLIP, SIGLIP], ids=["clip", "siglip"])
def test_hooks_change_nothing_and_leave_nothing(spec):
    tower = from_weights(spec, weights_of(spec)).image.requires_grad_(False)
    given = torch.from_numpy(pixels())
    plain = tower(given)
    ran = trace(tower, (given,), GRID)
    assert (ran.embedding - plain[0]).abs().max() < 1e-5
    assert torch.equal(tower(given), plain)
    for weights in ran.attention:
        assert torch.allclose(weights.sum(dim=-1), torch.ones(()), atol=1e-5)


def test_the_last_layer_s_embedding_of_a_siglip_is_the_embedding():
    ran, _ = traced(SIGLIP)
    assert (embedding_of(ran, ran.tokens[-1]) - ran.embedding).abs().max() < 1e-5


@pytest.mark.parametrize("spec", [CLIP, SIGLIP], ids=["clip", "siglip"])
def test_rollout_is_the_product_of_attention_with_residuals(spec):
    ran, _ = traced(spec)
    flow = np.eye(ran.attention[0].shape[-1])
    for weights in ran.attention:
        mean = weights[0].detach().numpy().mean(axis=0)
        flow = (mean + np.eye(len(mean))) / 2 @ flow
    expected = flow[0, 1:] if ran.pooling is None else ran.pooling[0].detach().numpy().mean(axis=0)[0] @ flow
    assert np.abs(rollout(ran).numpy().ravel() - expected).max() < 1e-5
    whole = 1 if ran.pooling is not None else 1 - flow[0, 0]
    assert rollout(ran).sum() == pytest.approx(whole, abs=1e-4)


def test_relevance_follows_the_equations():
    ran, toward = traced(CLIP)
    score = F.normalize(ran.embedding, dim=-1) @ toward
    flow = np.eye(ran.attention[0].shape[-1])
    for weights in ran.attention:
        (gradient,) = torch.autograd.grad(score, [weights], retain_graph=True)
        step = np.maximum((weights.detach() * gradient)[0].numpy(), 0).mean(axis=0)
        flow = flow + step @ flow
    found = relevance(ran, toward).numpy()
    assert found.max() > 0
    assert np.abs(found.ravel() - flow[0, 1:]).max() < 1e-6


def test_relevance_of_a_map_head_is_in_what_its_attention_raises():
    """With no blocks' relevance, what is left is the head's own attention times its gradient."""
    ran, toward = traced(SIGLIP)
    score = F.normalize(ran.embedding, dim=-1) @ toward
    (gradient,) = torch.autograd.grad(score, [ran.pooling], retain_graph=True)
    head = np.maximum((ran.pooling.detach() * gradient)[0].numpy(), 0).mean(axis=0)[0]
    found = relevance(ran, toward).numpy().ravel()
    assert (found >= head - 1e-7).all()  # each patch keeps its own part and gets some of the others
    assert found.sum() <= 2 * head.sum() + 1e-6
