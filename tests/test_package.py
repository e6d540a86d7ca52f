"""The public face: what is exported, and what importing it costs."""

import subprocess
import sys

import pytest

import anmok

HEAVY = ("numpy", "torch", "onnx", "onnxruntime", "usearch", "tokenizers", "huggingface_hub", "PIL", "transformers")


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(' '.join(m for m in sys.modules if '.' not in m))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_every_public_name_is_there():
    for name in anmok.__all__:
        assert getattr(anmok, name) is not None


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = anmok.lode


def test_import_is_light():
    assert not modules_after("import anmok") & set(HEAVY)


def test_command_line_help_loads_no_engine():
    assert not modules_after("import anmok.cli.app") & {"torch", "onnx", "onnxruntime", "usearch", "transformers"}


def test_encoding_and_searching_import_no_torch():
    code = (
        "import anmok, anmok.classify, anmok.collections, anmok.evaluate, anmok.doctor, anmok.cli.app\n"
        "encoder = anmok.load('anmok-mini'); encoder.encode_text(['a red bag'])\n"
        "import numpy; encoder.encode_image(numpy.zeros((8, 8, 3), 'uint8'))"
    )
    assert not modules_after(code) & {"torch", "transformers", "open_clip", "sklearn"}
