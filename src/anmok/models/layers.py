"""How deep in its tower an array lies: for learning rates that fall layer by layer, and for opening a locked tower.

Layer 0 is the stem or the embeddings, then come the blocks (of convolutional networks: the stages), and the last,
`depth`, is the head: what normalizes, pools and projects. A rate that falls from the head down (BEiT, Bao et al.
2021, arXiv 2106.08254) is lr · decay^(depth - layer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from anmok.models.plan import plan
from anmok.models.spec import BagSpec, CnnSpec, ResNetSpec

if TYPE_CHECKING:
    from anmok.models.spec import DualSpec

__all__ = ["depth", "layer_of"]

FIRST = ("class_embedding", "patch_embedding", "position_embedding", "pre_norm", "stem", "token_embedding")
LAST = ("norm", "pool", "projection")


def depth(spec: DualSpec, tower: Literal["image", "text"]) -> int:
    """The layer of a tower's head, one more than it has blocks or stages after the stem."""
    part = spec.image if tower == "image" else spec.text
    if isinstance(part, BagSpec):
        return 1
    if isinstance(part, CnnSpec):
        return len(plan(part))  # the first stage is the stem
    return (len(part.layers) if isinstance(part, ResNetSpec) else part.layers) + 1


def layer_of(name: str, spec: DualSpec) -> int:
    """The layer of one array of `weight_shapes(spec)`: 0 … `depth`; never less than that of an array before it.

    `logit_scale` and `logit_bias` come after both towers and are as deep as the deeper one.

    Raises:
        ValueError: no model of this kind has an array of that name.
    """
    tower, _, rest = name.partition(".")
    part, _, place = rest.partition(".")
    if name in ("logit_scale", "logit_bias"):
        return max(depth(spec, "image"), depth(spec, "text"))
    if tower in ("image", "text"):
        if part in FIRST:
            return 0
        if part in LAST:
            return depth(spec, "image" if tower == "image" else "text")
        index = place.partition(".")[0]
        if part in ("blocks", "stages") and index.isdecimal():
            return int(index) + (0 if tower == "image" and isinstance(spec.image, CnnSpec) else 1)
    raise ValueError(f"{name!r} is no array of a model; expected a name of weight_shapes(spec)")
