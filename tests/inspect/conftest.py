"""A stand-in for an encoder, with features that are plain to see through, and parts to inspect."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from anmok.pictures import Transform, read


class PlainEncoder:
    """Tells of each 8 x 8 pixels of a 48 x 48 tile: mean, slant across and slant down of each color."""

    name = "plain"
    fingerprint = "plain-1"
    checkpoint = SimpleNamespace(
        transform=Transform(size=(48, 48), resize="squash"),
        spec=SimpleNamespace(image=SimpleNamespace(width=10, layers=2)),  # one depth, of ten numbers
    )

    def features(self, pictures):
        pixels = np.stack([np.asarray(read(one)) for one in pictures]).astype(np.float32) / 255
        assert pixels.shape[1:] == (48, 48, 3)
        cells = pixels.reshape(-1, 6, 8, 6, 8, 3).swapaxes(2, 3)
        slant = np.linspace(-1, 1, 8)[:, None]
        across, down = (cells * slant).mean(axis=(3, 4)), (cells * slant[:, None]).mean(axis=(3, 4))
        mean = cells.mean(axis=(3, 4))
        local = np.concatenate([mean, 3 * across, 3 * down, np.full_like(mean[..., :1], 0.5)], axis=-1)
        local = local.astype(np.float32)
        return SimpleNamespace(local=local)


@pytest.fixture
def plain_encoder():
    return PlainEncoder()


def part(seed, *, fault=False, side=96, turned=False):
    """A gray disk with a hole on a light ground; a fault is a small dark spot, at `spot_of(seed)`."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), (205, 205, 200))
    pen = ImageDraw.Draw(image)
    x, y = rng.uniform(-1, 1, 2)
    pen.ellipse((16 + x, 16 + y, 80 + x, 80 + y), fill=(120, 122, 128))
    pen.ellipse((40 + x, 40 + y, 56 + x, 56 + y), fill=(205, 205, 200))
    if turned:
        image = image.rotate(float(rng.uniform(0, 360)))
    if fault:
        left, top = spot_of(seed)
        pen.ellipse((left, top, left + 9, top + 9), fill=(25, 20, 20))
    pixels = np.asarray(image) + rng.normal(0, 2, (side, side, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def spot_of(seed):
    angle = np.random.default_rng((seed, 1)).uniform(0, 2 * np.pi)
    return 43 + 22 * np.cos(angle), 43 + 22 * np.sin(angle)


@pytest.fixture
def good_parts():
    return [part(seed) for seed in range(24)]
