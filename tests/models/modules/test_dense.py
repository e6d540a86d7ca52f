"""Dense features: exact identities, on every kind of model."""

import pytest
import torch
from torch.nn import functional as F

from anmok.models.modules import from_weights
from anmok.models.modules.blocks import Block
from anmok.models.modules.dense import around, local_tokens
from anmok.models.modules.pool import AttentionPool, MapPool
from anmok.models.spec import CnnSpec


def test_embedding_is_the_ordinary_one(spec, random_weights, random_pictures):
    model, inputs = from_weights(spec, random_weights(spec)), random_pictures(spec, 3).modules
    with torch.inference_mode():
        assert torch.equal(model.encode_dense(**inputs).embedding, model.encode_image(**inputs))


def test_where_the_mean_is_pooled_the_mean_of_patches_is_the_embedding(spec, random_weights, random_pictures):
    if not isinstance(spec.image, CnnSpec) and spec.image.__dict__.get("pool") != "mean":
        pytest.skip("pools otherwise")
    inputs = random_pictures(spec, 3).modules
    with torch.inference_mode():
        dense = from_weights(spec, random_weights(spec)).encode_dense(**inputs)
    if "mask" in inputs:
        real = inputs["mask"][:, :, None]
        mean = (dense.patches * real).sum(dim=1) / real.sum(dim=1)
    else:
        mean = dense.patches.mean(dim=(1, 2))
    torch.testing.assert_close(mean, dense.embedding, atol=1e-5 * max(1, float(mean.abs().max())), rtol=0)


def test_a_patch_is_what_attention_gives_if_it_sees_nothing_else():
    block, x = Block(32, 4, 48, "gelu", 1e-5), torch.randn(2, 5, 32)
    alone = torch.full((5, 5), torch.finfo(torch.float32).min).fill_diagonal_(0)
    normed = block.norm1(x)
    torch.testing.assert_close(block.unmixed(x), block.attention(normed, normed, alone))


def test_a_token_alone_is_pooled_as_itself():
    pool, x = MapPool(32, 4, 48, "gelu_tanh", 1e-6), torch.randn(2, 5, 32)
    for i in range(5):
        torch.testing.assert_close(pool.each(x)[:, i], pool(x[:, i : i + 1]))


def test_cells_of_the_attention_pool_have_their_own_positions():
    pool = AttentionPool(grid=2, features=16, heads=4, dimension=6)
    torch.nn.init.normal_(pool.position_embedding)
    x = torch.randn(3, 16, 2, 2)
    each = pool.each(x)
    assert each.shape == (3, 2, 2, 6)
    expected = pool.out(pool.value(x[:, :, 1, 0] + pool.position_embedding[3]))  # the mean, (0, 0), (0, 1), (1, 0)
    torch.testing.assert_close(each[:, 1, 0], expected)


def test_neighbours_beyond_the_border_do_not_count():
    x = torch.arange(9.0).view(1, 1, 3, 3)
    assert around(x)[0, 0].tolist() == [[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]]


def test_local_tokens_are_normalized_by_layer():
    """A layer a thousand times the other has no more to say."""
    tokens = torch.randn(2, 6, 8)
    shapes = [(2, 3), (1, 4)]
    local = local_tokens([tokens, 1000 * tokens], shapes, 1e-5)
    torch.testing.assert_close(local[..., :8], local[..., 8:], atol=1e-4, rtol=0)
    assert not local[1, 4:].any()
    expected = F.layer_norm(tokens[1, 0:2], (8,)).mean(dim=0)
    torch.testing.assert_close(local[1, 0, :8], expected)
