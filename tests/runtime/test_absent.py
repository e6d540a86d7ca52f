"""The same commands where an engine is not installed."""

import json
import os
import subprocess
import sys
from importlib.resources import as_file, files

import pytest

RUN = """
import sys
for library in sys.argv[1].split():
    sys.modules[library] = None  # as if it were not installed
from anmok.cli import main
sys.argv = ["anmok", *sys.argv[2:]]
main()
"""


@pytest.fixture
def demo_pictures():
    with as_file(files("anmok") / "data" / "demo") as folder:
        yield folder


@pytest.fixture
def anmok(tmp_path):
    def run(without, *arguments):
        environment = {**os.environ, "ANMOK_HOME": str(tmp_path / "home"), "ANMOK_PRECISION": "auto"}
        command = [sys.executable, "-c", RUN, without, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


@pytest.mark.parametrize("without", ["onnxruntime torch", "openvino torch", "torch"])
def test_classify_index_and_search_do_not_depend_on_one_engine(anmok, demo_pictures, tmp_path, without):
    photo = demo_pictures / "photo-rocket.jpg"
    done = anmok(without, "classify", photo, "--labels", "cat,rocket,빨간 정사각형", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["predictions"][0]["label"] == "rocket"
    assert anmok(without, "index", demo_pictures, "-c", tmp_path / "c.anmok").returncode == 0
    found = anmok(without, "search", "a cat", "-c", tmp_path / "c.anmok", "--json", "--top", "1")
    assert found.returncode == 0, found.stderr
    told = anmok(without, "doctor").stdout
    assert ("openvino fp32" if "onnxruntime" in without else "onnxruntime fp32") in told


def test_without_any_engine_the_way_out_is_named(anmok, demo_pictures):
    photo = demo_pictures / "photo-rocket.jpg"
    done = anmok("onnxruntime openvino torch", "classify", photo, "--labels", "cat,dog")
    assert done.returncode == 2
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr
