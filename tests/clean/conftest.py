"""Photographs to plant defects in, and the built-in model."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from PIL import Image

import anmok

DEMO = Path(str(files("anmok") / "data" / "demo"))
MORE = Path(__file__).parent / "photographs"


@pytest.fixture(scope="session")
def photos() -> dict[str, Image.Image]:
    """Twelve photographs of 320 pixels."""
    found = sorted([*DEMO.glob("photo-*.jpg"), *MORE.glob("photo-*.jpg")], key=lambda path: path.name)
    return {path.stem: Image.open(path).convert("RGB") for path in found}


@pytest.fixture(scope="session")
def mini() -> anmok.Encoder:
    """The built-in model."""
    return anmok.load("anmok-mini")
