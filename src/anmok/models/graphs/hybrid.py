"""The vision transformer with convolutions before it, as in `modules/hybrid.py`, from pixels 0..255."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anmok.models.graphs.convolution import centered_pixels, convolution, pixel_scale
from anmok.models.graphs.vit import add_positions, transformer
from anmok.models.plan import hybrid_stem
from anmok.models.weights import as_float32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.models.graphs.builder import Builder
    from anmok.models.graphs.dense import Dense
    from anmok.models.spec import HybridSpec

__all__ = ["hybrid_transformer"]


def hybrid_transformer(
    g: Builder, spec: HybridSpec, *, mean: Sequence[float], std: Sequence[float], dense: bool = False
) -> tuple[str, Dense | None]:
    """Adds the input `pixels` uint8 [n, h, w, 3] and the tower; the result is [n, d], and with `dense` its places."""
    vit, name = spec.vit, "image.patch_embedding"
    x = centered_pixels(g, spec.image_size, mean)
    for i, layer in enumerate(hybrid_stem(spec)):
        x = convolution(g, f"{name}.stem.{i}", x, layer, divisor=pixel_scale(std) if i == 0 else 1.0)
    x = g.op("Conv", x, g.weight(f"{name}.projection.weight"))  # its bias goes into the positions
    x = g.op("Transpose", g.reshape(x, -1, vit.width, vit.grid**2), perm=[0, 2, 1])  # [n, grid*grid, w]
    x, batch = add_positions(g, vit, x, as_float32(g.weights[f"{name}.projection.bias"]))
    return transformer(g, vit, x, batch, dense=dense)
