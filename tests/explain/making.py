"""A tiny CLIP ViT and a tiny SigLIP tower with seeded weights, a seeded input and a seeded text.

`legrad.npz` holds what LeGrad's own code (github.com/WalBouss/LeGrad, MIT, commit a9edb03, with open_clip 2.23.0 and
timm 1.0.31) makes of them: the weights below under open_clip's names (`to_open_clip`), `LeWrapper(model)`, then
`compute_legrad_clip(text, pixels)` and `compute_legrad_siglip(text, pixels, apply_correction=False)`: maps of the
picture's size, smallest 0, largest 1.
"""

from __future__ import annotations

import numpy as np

from anmok.models.spec import DualSpec, TextSpec, VitSpec, weight_shapes

SIDE, PATCH = 24, 4
CLIP_VIT = VitSpec(
    image_size=SIDE, patch_size=PATCH, width=32, layers=4, heads=4, mlp_width=64, activation="gelu",
    pool="cls", class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
)  # fmt: skip
SIGLIP_VIT = VitSpec(
    image_size=SIDE, patch_size=PATCH, width=32, layers=4, heads=4, mlp_width=64, activation="gelu",
    pool="map", class_token=False, pre_norm=False, patch_bias=True, norm_eps=1e-6, projection=False,
)  # fmt: skip
TEXT = TextSpec(
    vocabulary=60, context_length=8, width=16, layers=1, heads=2, mlp_width=32, activation="gelu",
    causal=True, pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=59, pad_token=0,
)  # fmt: skip
CLIP = DualSpec(CLIP_VIT, TEXT, 24, "softmax")
SIGLIP = DualSpec(SIGLIP_VIT, TEXT, 32, "sigmoid")


def weights_of(spec: DualSpec) -> dict[str, np.ndarray]:
    """Random, with activations of ordinary size; the same on every machine."""
    weights = {}
    for number, (name, shape) in enumerate(weight_shapes(spec).items()):
        drawn = np.random.default_rng((0, number)).normal(size=shape)
        if "norm" in name and name.endswith("weight"):
            drawn = 1 + 0.1 * drawn
        elif name.endswith("bias") or len(shape) < 2:
            drawn = 0.3 * drawn
        else:
            drawn = drawn * (1.5 / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1)
        weights[name] = np.asarray(drawn, np.float32)
    return weights


def pixels() -> np.ndarray:
    """Normalized, float32 [1, 3, SIDE, SIDE]."""
    return np.random.default_rng(1).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)


def text(spec: DualSpec) -> np.ndarray:
    """A unit vector, float32 [1, d]."""
    drawn = np.random.default_rng(2).normal(size=(1, spec.dimension))
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)
