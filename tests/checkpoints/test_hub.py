"""Loading from the hub, against a server of our own.

huggingface_hub reads its variables when it is imported, hence the subprocesses.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from anmok.checkpoints import load_checkpoint

from .hub_stub import Hub

NAME = "somebody/tiny-clip"
SCRIPT = """
import json, sys, warnings
from anmok.checkpoints import load_checkpoint
from anmok.errors import AnmokError
answers = []
for name in sys.argv[1:]:
    try:
        checkpoint = load_checkpoint(name)
        answers.append({"fingerprint": checkpoint.fingerprint, "license": checkpoint.license, "name": checkpoint.name})
    except AnmokError as error:
        answers.append({"error": type(error).__name__, "text": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture
def repository(clip_folder, tmp_path):
    """What a repository on the hub looks like: what is needed, and much that is not."""
    folder = shutil.copytree(clip_folder.folder, tmp_path / "repository")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for name in ("pytorch_model.bin", "tf_model.h5", "flax_model.msgpack", ".gitattributes"):
        (folder / name).write_bytes(b"not needed")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "model.onnx").write_bytes(b"not needed")
    return folder


@pytest.fixture
def hub(repository):
    served = Hub(NAME, repository)
    yield served
    served.close()


def load(home, *names: str, endpoint: str, **variables: str) -> list[dict]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}
    environment = {
        **kept, "HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1", "PYTHONWARNINGS": "ignore", **variables,
    }  # fmt: skip
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-c", SCRIPT, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_only_what_is_needed_is_fetched_and_offline_finds_it_again(hub, clip_folder, tmp_path):
    home = tmp_path / "home"
    first, missing = load(home, NAME, "somebody/else", endpoint=hub.url, HF_TOKEN="hf_secret")
    expected = load_checkpoint(clip_folder.folder).fingerprint
    assert first == {"fingerprint": expected, "license": "mit", "name": NAME}
    assert missing["error"] == "CheckpointError"
    assert "the hub has no 'somebody/else', or it is private (then set HF_TOKEN)" in missing["text"]
    assert hub.fetched() == {
        "config.json", "preprocessor_config.json", "model.safetensors", "README.md", "vocab.json", "merges.txt",
        "tokenizer_config.json",
    }  # fmt: skip
    assert {token for _, _, token in hub.requests} == {"Bearer hf_secret"}

    asked = len(hub.requests)
    again, other = load(home, NAME, "somebody/else", endpoint=hub.url, HF_HUB_OFFLINE="1")
    assert again["fingerprint"] == expected
    assert len(hub.requests) == asked, "offline mode must not ask"
    assert other["error"] == "HubUnreachable"
    assert "offline mode is on" in other["text"]
    assert "anmok-mini" in other["text"]


def test_unreachable_hub_uses_the_cache_or_says_the_way_out(hub, tmp_path):
    home = tmp_path / "home"
    (first,) = load(home, NAME, endpoint=hub.url)
    closed = "http://127.0.0.1:9"  # the discard port: nothing listens there
    again, other = load(home, NAME, "google/siglip2-base-patch16-224", endpoint=closed)
    assert again == first
    assert other["error"] == "HubUnreachable"
    assert "the hub cannot be reached" in other["text"]
    assert "load a local folder" in other["text"]


def test_server_error_is_named(repository, tmp_path):
    broken = Hub(NAME, repository, status=418)
    try:
        (answer,) = load(tmp_path / "home", NAME, endpoint=broken.url)
    finally:
        broken.close()
    assert answer["error"] == "HubUnreachable"
    assert "the hub answered 418" in answer["text"]


def test_repository_without_a_checkpoint_is_refused_before_anything_is_fetched(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"rows")
    served = Hub(NAME, folder)
    try:
        (answer,) = load(tmp_path / "home", NAME, endpoint=served.url)
    finally:
        served.close()
    assert answer["error"] == "CheckpointError"
    assert f"{NAME} on the hub is not a checkpoint" in answer["text"]
    assert served.fetched() == set()
