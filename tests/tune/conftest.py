"""Tiny models of every kind that can be tuned, and adapters of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anmok.models.spec import DualSpec, ResNetSpec, TextSpec, VitSpec, weight_shapes
from anmok.tune import Adapter

CLIP = DualSpec(
    VitSpec(32, 8, 32, 2, 2, 64, "quick_gelu", "cls", True, True, False, 1e-5, True),
    TextSpec(49408, 77, 32, 2, 2, 64, "quick_gelu", True, "eos", 1e-5, False, 49407, 49407),
    24,
    "softmax",
)
SIGLIP = DualSpec(
    VitSpec(32, 8, 24, 2, 2, 48, "gelu_tanh", "map", False, False, True, 1e-6, False),
    TextSpec(300, 16, 32, 2, 2, 64, "gelu_tanh", False, "last", 1e-6, True, 1, 1),
    24,
    "sigmoid",
)
RESNET = replace(CLIP, image=ResNetSpec(32, 8, (1, 1, 1, 1), 4))
SPECS = {"clip": CLIP, "siglip": SIGLIP, "naflex": replace(SIGLIP, image=replace(SIGLIP.image, naflex=True)),
         "resnet": RESNET}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Faster for models as tiny as these, and the same numbers on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def specs():
    return SPECS


def make_weights(spec, seed=0):
    """Random arrays of a size at which activations stay near 1; norms are 1 and 0, as after a good start."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(spec).items():
        array = random.standard_normal(shape) * (np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.05)
        if "norm" in name and name.endswith(("weight", "running_var")):
            array = 1 + 0.1 * np.abs(array)
        weights[name] = np.asarray(array, np.float32)
    weights["logit_scale"] = np.array(3.0, np.float32)
    return weights


@pytest.fixture(scope="session")
def random_weights():
    return make_weights


@pytest.fixture(scope="session")
def checkpoints(tiny_checkpoint):
    """The tiny CLIP of tests/conftest.py with the towers of `SPECS`, where OpenAI's tokenizer fits."""
    return {
        kind: replace(tiny_checkpoint, name=kind, spec=SPECS[kind], weights=make_weights(SPECS[kind]))
        for kind in ("clip", "resnet")
    }


@pytest.fixture(scope="session")
def random_adapter():
    def make(spec, names, rank=3, seed=0, **options):
        from anmok.tune.adapter import rows_of

        random, changes = np.random.default_rng(seed), {}
        for name in names:
            weight, rows = rows_of(name, spec)
            inputs, outputs = weight_shapes(spec)[weight][1], rows.stop - rows.start
            down, up = random.standard_normal((rank, inputs)), random.standard_normal((outputs, rank))
            changes[name] = (0.2 * down.astype(np.float32), 0.2 * up.astype(np.float32))
        return Adapter(changes, rank, **{"alpha": 6.0, **options})

    return make
