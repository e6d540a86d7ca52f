"""The transformer block that every tower is made of: attention, then a small network per token.

Source: Attention Is All You Need (Vaswani et al. 2017, arXiv 1706.03762), equation 1, with the
layer norms before each half, as in CLIP's `ResidualAttentionBlock`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anmok.models.spec import Activation

__all__ = ["Attention", "Block", "Mlp", "activate", "attend", "initialize_blocks", "key_mask"]


class Block(nn.Module):
    """One layer: tokens look at each other (attention), then each thinks for itself (MLP)."""

    def __init__(self, width: int, heads: int, mlp_width: int, activation: Activation, norm_eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.mlp = Mlp(width, mlp_width, activation)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[n, l, w] → [n, l, w]; `mask` is added to the attention scores (0 to see, very negative to hide)."""
        normed = self.norm1(x)
        x = x + self.attention(normed, normed, mask)
        y: Tensor = x + self.mlp(self.norm2(x))
        return y

    def unmixed(self, x: Tensor) -> Tensor:
        """What the attention gives for each token if it looks at itself alone: [n, l, w] → [n, l, w]."""
        return self.attention.unmixed(self.norm1(x))


class Attention(nn.Module):
    """Multi-head attention with query, key and value in one fused matrix."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries [n, q, w] look at tokens [n, l, w] → [n, q, w]. In self-attention both are the same."""
        if queries is tokens:
            q, k, v = self.qkv(tokens).chunk(3, dim=-1)
        else:
            w = tokens.shape[-1]
            q = F.linear(queries, self.qkv.weight[:w], self.qkv.bias[:w])
            k, v = F.linear(tokens, self.qkv.weight[w:], self.qkv.bias[w:]).chunk(2, dim=-1)
        mixed: Tensor = self.out(attend(q, k, v, self.heads, mask))
        return mixed

    def unmixed(self, tokens: Tensor) -> Tensor:
        """What `forward` gives to a query that looks at one token alone, for each: [n, l, w] → [n, l, w]."""
        w = tokens.shape[-1]
        y: Tensor = self.out(F.linear(tokens, self.qkv.weight[2 * w :], self.qkv.bias[2 * w :]))
        return y


class Mlp(nn.Module):
    """Two linear maps with a nonlinearity between, applied to every token alike."""

    def __init__(self, width: int, mlp_width: int, activation: Activation) -> None:
        super().__init__()
        self.up = nn.Linear(width, mlp_width)
        self.down = nn.Linear(mlp_width, width)
        self.activation: Activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """[..., w] → [..., w]."""
        y: Tensor = self.down(activate(self.up(x), self.activation))
        return y


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ / √(w/h)) V for each head: queries [n, q, w], keys and values [n, l, w] → [n, q, w].

    On a GPU by PyTorch's fused kernel, which never holds the scores. On CPU written out, which trains more than twice
    as fast, because the backward pass of the fused kernel is slow there.
    """
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (q, k, v))  # [n, h, l, w/h]
    if q.is_cuda:
        mixed = F.scaled_dot_product_attention(q, k, v, None if mask is None else mask.to(q.dtype))
    else:
        mixed = _attend_written_out(q, k, v, mask)
    return mixed.transpose(1, 2).flatten(2)


def _attend_written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """[n, h, q, w/h] and twice [n, h, l, w/h] → [n, h, q, w/h]."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [n, h, q, l]
    if mask is not None:
        scores = scores + mask
    mixed: Tensor = scores.softmax(dim=-1).to(v.dtype) @ v
    return mixed


def key_mask(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Real-token mask [n, l] (true: look at it) → what is added to attention scores [n, 1, 1, l]."""
    hidden = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return hidden.masked_fill(~mask.bool(), torch.finfo(dtype).min)[:, None, None, :]


def activate(x: Tensor, activation: Activation) -> Tensor:
    """OpenAI's CLIP uses QuickGELU, open_clip the exact GELU, SigLIP its tanh approximation."""
    if activation == "quick_gelu":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


def initialize_blocks(blocks: Iterable[nn.Module], width: int, layers: int) -> None:
    """Start values for training, as CLIP's `initialize_parameters` gives them; biases start at zero.

    Maps that end in the residual stream get smaller values the deeper the tower is.
    """
    for block in blocks:
        for name, parameter in block.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif name.endswith("qkv.weight"):
                nn.init.normal_(parameter, std=width**-0.5)
            elif name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(parameter, std=width**-0.5 * (2 * layers) ** -0.5)
            elif name.endswith("up.weight"):
                nn.init.normal_(parameter, std=(2 * width) ** -0.5)
