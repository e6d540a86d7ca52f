"""The second engine: equal to the first in float32, near in fewer bits, and a clear word where it is missing."""

import builtins
import subprocess
import sys

import numpy as np
import pytest

from anmok.encoder import Encoder
from anmok.errors import MissingExtra
from anmok.runtime import choice, openvino
from anmok.runtime.choice import Way

PICTURES = [np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8) for seed in range(5)]
TEXTS = ["a cat", "a photo of a red bag", "a photo of a cup", *(f"a photo of a number {i}" for i in range(150))]


@pytest.fixture
def _installed():
    pytest.importorskip("openvino")


def least_cosine(one, other):
    return (one.vectors * other.vectors).sum(axis=1).min()


@pytest.mark.usefixtures("_installed")
def test_float32_equals_onnx_runtime(checkpoint):
    ours, exact = Encoder(checkpoint, engine="openvino", precision="fp32"), Encoder(checkpoint, precision="fp32")
    assert ours.runs("image") == ours.runs("text") == "openvino fp32"
    np.testing.assert_allclose(ours.encode_image(PICTURES).vectors, exact.encode_image(PICTURES).vectors, atol=1e-5)
    np.testing.assert_allclose(ours.encode_text(TEXTS).vectors, exact.encode_text(TEXTS).vectors, atol=1e-5)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("way", [Way("openvino", "int8"), Way("openvino", "int8", 0.25), Way("openvino", "bf16")])
@pytest.mark.parametrize("tower", ["image", "text"])
def test_fewer_bits_are_near(checkpoint, tower, way):
    if way.precision == "bf16" and not openvino.has_bf16():
        pytest.skip("this processor has no bfloat16")
    feed = choice.Trial(checkpoint, tower).batch(8)
    exact, found = (
        choice.open_tower(checkpoint, tower, one, threads=1).run(["embedding"], feed)[0] for one in (choice.EXACT, way)
    )
    cosines = (exact * found).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert 0.99 < cosines.min() < 0.9999999


@pytest.mark.usefixtures("_installed")
def test_outputs_belong_to_the_caller(checkpoint):
    session = choice.open_tower(checkpoint, "image", Way("openvino", "fp32"), threads=1)
    first = session.run(["embedding"], {"pixels": np.zeros((1, 32, 32, 3), np.uint8)})[0]
    before = first.copy()
    session.run(["embedding"], {"pixels": np.full((1, 32, 32, 3), 255, np.uint8)})
    assert np.array_equal(first, before)


@pytest.mark.usefixtures("_installed")
def test_nobody_is_told_of_its_use():
    """Importing OpenVINO starts a process that reports it; ours must not."""
    code = (
        "import subprocess, socket, sys\n"
        "def refuse(*a, **k): raise SystemExit('a process was started')\n"
        "subprocess.Popen.__init__ = refuse\n"
        "from anmok.runtime import openvino\n"
        "openvino.has_bf16()\n"
        "print(sys.modules['openvino_telemetry'], 'openvino' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.split() == ["None", "True"], run.stderr


def test_where_it_is_missing_the_way_out_is_named(checkpoint, monkeypatch):
    imports = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "openvino":
            raise ImportError(name)
        return imports(name, *args, **kwargs)

    openvino._core.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"anmok\[openvino\]"):
        Encoder(checkpoint, engine="openvino")
