"""Pictures for the tests of this folder, and the reference implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def draw(height: int, width: int, seed: int = 0) -> Image.Image:
    """Soft shapes under fine noise, no two corners alike: shows a shift by one pixel, and a turn."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(rows / (3 + c) + c) * np.cos(columns / (5 + 2 * c) - c) for c in range(3)]
    ramp = 40 * (rows / height - columns / width)
    pixels = np.stack(waves, axis=2) + ramp[:, :, None] + random.normal(0, 20, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="session", name="draw")
def draw_fixture() -> Callable[..., Image.Image]:
    return draw


@pytest.fixture(scope="session")
def open_clip_transform(torchvision: ModuleType) -> ModuleType:
    import open_clip.transform

    return open_clip.transform


@pytest.fixture(scope="session")
def transformers(torchvision: ModuleType) -> ModuleType:
    import transformers

    return transformers
