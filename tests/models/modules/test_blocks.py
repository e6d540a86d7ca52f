import pytest
import torch
from torch import nn
from torch.nn import functional as F

from anmok.models.modules.blocks import Attention, Block, activate, attend, key_mask


def test_attention_equals_pytorchs_own():
    q, k, v = torch.randn(3, 5, 32), torch.randn(3, 7, 32), torch.randn(3, 7, 32)
    mask = torch.arange(7) < torch.tensor([[7], [3], [1]])
    split = [x.view(3, -1, 4, 8).transpose(1, 2) for x in (q, k, v)]
    expected = F.scaled_dot_product_attention(*split, attn_mask=mask[:, None, None, :]).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attend(q, k, v, 4, key_mask(mask, torch.float32)), expected)


def test_the_fused_matrix_equals_multihead_attention():
    ours, theirs = Attention(32, 4), nn.MultiheadAttention(32, 4, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": ours.qkv.bias,
            "out_proj.weight": ours.out.weight,
            "out_proj.bias": ours.out.bias,
        }
    )
    queries, tokens = torch.randn(2, 3, 32), torch.randn(2, 6, 32)
    torch.testing.assert_close(ours(tokens, tokens), theirs(tokens, tokens, tokens)[0])
    torch.testing.assert_close(ours(queries, tokens), theirs(queries, tokens, tokens)[0])


def test_what_is_hidden_does_not_matter():
    block = Block(32, 4, 64, "gelu", 1e-5)
    x, mask = torch.randn(2, 6, 32), torch.arange(6) < torch.tensor([[4], [6]])
    other = torch.where(mask[:, :, None], x, 100.0)
    hidden = key_mask(mask, torch.float32)
    assert torch.equal(block(x, hidden)[mask], block(other, hidden)[mask])


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("quick_gelu", 0.84579575), ("gelu", 0.84134475), ("gelu_tanh", 0.84119199)],
)
def test_the_three_activations_differ_as_they_should(activation, expected):
    assert activate(torch.ones(1), activation).item() == pytest.approx(expected, abs=1e-6)


def test_half_precision_stays_half_and_finite():
    block = Block(32, 4, 64, "quick_gelu", 1e-5).bfloat16()
    mask = key_mask(torch.tensor([[True, False, False]]), torch.bfloat16)
    y = block(torch.randn(1, 3, 32).bfloat16(), mask)
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()
