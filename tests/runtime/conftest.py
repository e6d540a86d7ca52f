"""A checkpoint large enough to be rounded: random weights, OpenAI's tokenizer, and one with outlier channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture(scope="session")
def checkpoint(wider_checkpoint):
    """Wide enough to be rounded."""
    return wider_checkpoint


@pytest.fixture(scope="session")
def uneven(checkpoint):
    """Two channels of every layer norm a hundred times the others, as large trained towers have some: the products that
    follow take them back."""
    weights = dict(checkpoint.weights)
    for layer in range(2):
        for norm, product in (("norm1", "attention.qkv"), ("norm2", "mlp.up")):
            for tower in ("image", "text"):
                name = f"{tower}.blocks.{layer}"
                factor = np.ones(64, np.float32)
                factor[[3, 40]] = 100
                for part in ("weight", "bias"):
                    weights[f"{name}.{norm}.{part}"] = weights[f"{name}.{norm}.{part}"] * factor
                weights[f"{name}.{product}.weight"] = weights[f"{name}.{product}.weight"] / factor
    return replace(checkpoint, weights=weights)


@pytest.fixture(scope="session")
def hopeless(checkpoint):
    """A few hidden units of every MLP a thousand times the others: one scale cannot hold both, and no norm is before
    them that could take it."""
    weights = dict(checkpoint.weights)
    for layer in range(2):
        for tower in ("image", "text"):
            name = f"{tower}.blocks.{layer}.mlp"
            factor = np.ones(128, np.float32)
            factor[[5, 70, 71]] = 1000
            weights[f"{name}.up.weight"] = np.abs(weights[f"{name}.up.weight"])
            weights[f"{name}.up.bias"] = weights[f"{name}.up.bias"] + np.where(factor > 1, 1000, 0).astype(np.float32)
            weights[f"{name}.down.weight"] = weights[f"{name}.down.weight"] / factor
    return replace(checkpoint, weights=weights)
