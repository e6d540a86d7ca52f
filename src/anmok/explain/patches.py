"""Patches beside the text: how near each place of the picture is to what is asked for, without gradients.

Each patch is brought into the shared space by the value path, in which the last attention does not mix it with the
others (`Encoder.features`). Source: Extract Free Dense Labels from CLIP (Zhou et al. 2022, arXiv 2112.01071, section
3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from anmok.explain.heatmap import Grid, covered_by
from anmok.models.spec import HybridSpec, VitSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from anmok.encoder import Encoder

__all__ = ["patches"]


def patches(encoder: Encoder, picture: Image.Image, toward: NDArray[np.float32]) -> Grid:
    """`patch · toward` of each patch, less the mean of the picture's patches: cosines have no zero of their own.

    Args:
        encoder: whose tower has patches.
        picture: RGB.
        toward: [d], the direction whose score is explained.
    """
    near = encoder.features([picture]).patches[0] @ toward
    image = encoder.checkpoint.spec.image
    tower = image.vit if isinstance(image, HybridSpec) else image
    covered = covered_by(tower, encoder.checkpoint.transform.size) if isinstance(tower, VitSpec) else (1.0, 1.0)
    return Grid((near - near.mean()).astype(np.float32), covered)
