"""Records and converted graphs: whole or not at all, and never an error."""

import multiprocessing

import numpy as np
import pytest

from anmok.runtime import cache
from anmok.runtime.choice import tower_graph
from anmok.runtime.onnxruntime import open_session

MADE = {"fingerprint": "f", "processor": "p", "threads": "1", "anmok": "1"}


def test_what_is_kept_belongs_to_checkpoint_versions_processor_and_threads():
    folders = {cache.folder_of({**MADE, key: "other"}) for key in MADE} | {cache.folder_of(MADE)}
    assert len(folders) == 1 + len(MADE)


def test_a_record_comes_back(tmp_path):
    cache.write_record(tmp_path / "a" / "image.json", {"way": "fp32"})
    assert cache.read_record(tmp_path / "a" / "image.json") == {"way": "fp32"}
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["image.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_record_is_none(tmp_path, content):
    (tmp_path / "image.json").write_bytes(content)
    assert cache.read_record(tmp_path / "image.json") is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, checkpoint):
    (tmp_path / "file").write_text("in the way")
    cache.write_record(tmp_path / "file" / "image.json", {})
    cache.keep_graph(tmp_path / "file", "int8", tower_graph(checkpoint, "image"))
    assert cache.converted(tmp_path / "file", "int8") is None


def keep(folder, checkpoint):
    for _ in range(10):
        cache.keep_graph(folder, "image", tower_graph(checkpoint, "image"))


def test_two_processes_may_keep_the_same_graph(tmp_path, checkpoint):
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=keep, args=(tmp_path, checkpoint)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
        assert other.exitcode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["image"]
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    kept = open_session(cache.converted(tmp_path, "image"), threads=1).run(["embedding"], {"pixels": pixels})[0]
    own = open_session(tower_graph(checkpoint, "image"), threads=1).run(["embedding"], {"pixels": pixels})[0]
    np.testing.assert_allclose(kept, own, atol=1e-6)
