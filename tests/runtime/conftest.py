"""A checkpoint large enough to be rounded: random weights, OpenAI's tokenizer, and one with outlier channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anmok.models.spec import DualSpec, TextSpec, VitSpec, weight_shapes

SPEC = DualSpec(
    image=VitSpec(
        image_size=32, patch_size=8, width=64, layers=2, heads=2, mlp_width=128, activation="quick_gelu",
        pool="cls", class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
    ),
    text=TextSpec(
        vocabulary=49408, context_length=77, width=64, layers=2, heads=2, mlp_width=128, activation="quick_gelu",
        causal=True, pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=49407, pad_token=49407,
    ),
    dimension=64,
    score="softmax",
)  # fmt: skip


def random_weights(spec):
    rng = np.random.default_rng(0)
    weights = {
        name: (1 if "norm" in name and "weight" in name else 0) + 0.1 * rng.normal(size=shape)
        for name, shape in weight_shapes(spec).items()
    }
    return {name: np.asarray(array, np.float32) for name, array in weights.items()} | {
        "logit_scale": np.array(3.0, np.float32)
    }


@pytest.fixture(scope="session")
def checkpoint(tiny_checkpoint):
    return replace(tiny_checkpoint, spec=SPEC, weights=random_weights(SPEC))


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
