"""Where the dense features of a tower come from, and their shapes: what `modules/` and `graphs/` have in common.

A dense graph gives, beside the embedding of a picture,

    patches   each place in the shared space, as if the tower's last pooling had looked there alone (the value path)
    local     the middle of the tower: what a place looks like rather than what it is, for telling odd ones apart

Sources. Patches: MaskCLIP (Zhou et al. 2022, arXiv 2112.01071, section 3.2: the values of the last attention, unmixed)
and, for the last block's residual and MLP that are left out, ClearCLIP (Lan et al. 2024, arXiv 2407.12442); where the
mean is pooled, class activation maps (Zhou et al. 2016, arXiv 1512.04150, equation 2). Local: PatchCore (Roth et al.
2022, arXiv 2106.08265, section 3.1): two middle levels, each the mean of 3x3 places, side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.models.plan import channels_of, plan, sides, strides
from anmok.models.spec import CnnSpec, HybridSpec, ResNetSpec

if TYPE_CHECKING:
    from anmok.models.spec import DualSpec

__all__ = ["RESNET_STAGES", "dense_shapes", "local_blocks", "local_stages", "local_widths"]

Shape = tuple[int | str, ...]
RESNET_STAGES = (1, 2)  # of CLIP's ResNet: those at stride 8 and 16


def local_blocks(layers: int) -> tuple[int, ...]:
    """How many blocks of a transformer have run where its local features are taken: half, and three quarters.

    >>> local_blocks(12), local_blocks(2)
    ((6, 9), (1,))
    """
    return tuple(sorted({layers // 2, 3 * layers // 4}))


def local_stages(spec: CnnSpec) -> tuple[int, int]:
    """The stages of a convolutional network whose outputs are its local features.

    The last ones at a quarter and at a half of the whole stride: 8 and 16 of 32, and as deep in networks for small
    pictures, which shrink less.
    """
    found = strides(plan(spec))
    quarter, half = (max(i for i, stride in enumerate(found) if stride * part == found[-1]) for part in (4, 2))
    return quarter, half


def local_widths(spec: DualSpec) -> tuple[int, ...]:
    """How many of the local features belong to each depth, the fine one first."""
    image = spec.image
    if isinstance(image, CnnSpec):
        stages = plan(image)
        return tuple(channels_of(stages[: stage + 1]) for stage in local_stages(image))
    if isinstance(image, ResNetSpec):
        return tuple(image.width * 4 * 2**stage for stage in RESNET_STAGES)
    vit = image.vit if isinstance(image, HybridSpec) else image
    return (vit.width,) * len(local_blocks(vit.layers))


def dense_shapes(spec: DualSpec) -> tuple[Shape, Shape]:
    """Of one picture's patches (h, w, d) and local features (h', w', c); NaFlex: ("m", d) and ("m", c)."""
    image, channels = spec.image, sum(local_widths(spec))
    if isinstance(image, CnnSpec):
        size, fine = sides(plan(image), image.image_size), local_stages(image)[0]
        return (size[-1], size[-1], spec.dimension), (size[fine], size[fine], channels)
    if isinstance(image, ResNetSpec):
        side = (image.image_size + 1) // 2 // 4  # the stem's stride rounds up, the others down
        return (image.grid, image.grid, spec.dimension), (side, side, channels)
    vit = image.vit if isinstance(image, HybridSpec) else image
    grid: Shape = ("m",) if vit.naflex else (vit.grid, vit.grid)
    return (*grid, spec.dimension), (*grid, channels)
