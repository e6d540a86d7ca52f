"""The reference implementations, importable also where torchvision's wheel was built for another torch.

transformers and open_clip import torchvision, which fails on two operators that nothing here uses; declaring
them is enough.
"""

from __future__ import annotations

__all__ = ["declare_operators"]


def declare_operators() -> None:
    """Call before importing transformers or open_clip."""
    import torch

    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
