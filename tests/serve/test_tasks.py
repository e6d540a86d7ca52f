from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from anmok.collections import Collection, batch
from anmok.encoder import Encoder
from anmok.errors import FingerprintMismatch, StoreError
from anmok.serve import tasks
from anmok.serve.tasks import index_folder, re_encode
from anmok.store import Store

BATCH = 32  # pictures that an encoder runs at once

needs_posix = pytest.mark.skipif(os.name != "posix", reason="such names are POSIX's")


@pytest.fixture(scope="session")
def wider_encoder(wider_checkpoint):
    return Encoder(wider_checkpoint)


@pytest.fixture
def encoder_of_another_kind(tiny_checkpoint):
    weights = {name: array * 1.01 for name, array in tiny_checkpoint.weights.items()}
    return Encoder(replace(tiny_checkpoint, weights=weights))


@pytest.fixture
def photos(tmp_path, paint):
    return paint(tmp_path / "photos", 12)


@pytest.fixture
def open_collection(tmp_path, tiny_encoder):
    """As a service does for each job."""
    return lambda encoder=tiny_encoder: Collection(tmp_path / "c.anmok", encoder=encoder)


@pytest.fixture
def collection(open_collection):
    with open_collection() as collection:
        yield collection


class Gate:
    """Lets so many runs of an encoder's tower through; the others wait until it is opened."""

    def __init__(self, encoder, monkeypatch, runs):
        self.free, self.waiting, self.open, self.pictures = runs, threading.Event(), threading.Event(), 0
        self._run, self._lock = encoder._run_image, threading.Lock()
        monkeypatch.setattr(encoder, "_run_image", self._pass)

    def _pass(self, prepared):
        with self._lock:
            self.free -= 1
            waits = self.free < 0
        if waits:
            self.waiting.set()
            assert self.open.wait(20)
        self.pictures += len(prepared)
        return self._run(prepared)


def vectors(collection):
    return {item.key: item.vector.tobytes() for item in collection.get(collection.keys())}


# Indexing


def test_an_index_answers_with_its_report_as_json(collection, photos):
    (photos / "sub").mkdir()
    (photos / "sub" / "bad.png").write_bytes(b"bad")
    result = index_folder(collection, photos)
    assert json.loads(json.dumps(result)) == {
        "added": 12,
        "unchanged": 0,
        "moved": 0,
        "changed": 0,
        "removed": 0,
        "failed": [{"picture": "sub/bad.png", "error": collection.failed[0].error}],
        "failed_count": 1,
    }
    assert index_folder(collection, photos, verify=True, retry=True)["unchanged"] == 12


@needs_posix
def test_of_many_failures_some_are_named_and_all_counted(collection, photos, monkeypatch):
    monkeypatch.setattr(tasks, "FAILED_LISTED", 2)
    for name in (b"caf\xe9.png", b"a\nb.png", b"z.png"):
        (photos / os.fsdecode(name)).write_bytes(b"bad")
    result = index_folder(collection, photos)
    assert result["failed_count"] == 3
    assert [failure["picture"] for failure in result["failed"]] == [repr("a\nb.png"), repr("caf\udce9.png")]


def test_a_cancelled_index_keeps_what_was_written_and_the_next_one_goes_on(
    open_jobs, open_collection, photos, tiny_encoder, monkeypatch, until
):
    monkeypatch.setattr(batch, "BATCH_FILES", 2)
    gate = Gate(tiny_encoder, monkeypatch, 3)

    def index(arguments, job):
        with open_collection() as collection:
            return index_folder(collection, Path(arguments["folder"]))

    jobs = open_jobs(index=index)
    job = jobs.submit("index", {"folder": str(photos)})
    assert gate.waiting.wait(20)
    jobs.cancel(job.id)
    gate.open.set()
    job = until(jobs, job.id)
    assert (job.state, job.progress.name, job.progress.total) == ("cancelled", "indexing pictures", 12)
    with open_collection() as collection:
        written = len(collection)
        assert written in (2, 4, 6)
        assert job.progress.done in (written, written - 2)
        assert collection.check().ok
    again = until(jobs, jobs.submit("index", {"folder": str(photos)}).id)
    assert (again.result["unchanged"], again.result["added"]) == (written, 12 - written)
    assert again.progress.done == 12
    with open_collection() as collection:
        assert len(collection) == 12


def cancel_amid_a_batch(jobs, kind, gate, until):
    """Cancel while the tower is at the second run of a batch of three runs."""
    job = jobs.submit(kind, {})
    assert gate.waiting.wait(20)
    jobs.cancel(job.id)
    gate.open.set()
    assert until(jobs, job.id).state == "cancelled"
    assert gate.pictures <= 2 * BATCH


def test_an_index_stops_amid_a_batch(open_jobs, open_collection, paint, tmp_path, tiny_encoder, monkeypatch, until):
    folder = paint(tmp_path / "many", 3 * BATCH)
    gate = Gate(tiny_encoder, monkeypatch, 1)

    def index(arguments, job):
        with open_collection() as collection:
            return index_folder(collection, folder)

    cancel_amid_a_batch(open_jobs(index=index), "index", gate, until)
    with open_collection() as collection:
        assert len(collection) == 0
        assert index_folder(collection, folder)["added"] == 3 * BATCH


def test_a_move_stops_amid_a_batch_and_goes_on(
    open_jobs, open_collection, paint, tmp_path, wider_encoder, monkeypatch, until
):
    folder = paint(tmp_path / "many", 3 * BATCH)
    with open_collection() as collection:
        collection.add_folder(folder)
    gate = Gate(wider_encoder, monkeypatch, 1)

    def move(arguments, job):
        with open_collection(None) as collection:
            return re_encode(collection, wider_encoder)

    jobs = open_jobs(move=move)
    cancel_amid_a_batch(jobs, "move", gate, until)
    with open_collection() as collection:
        assert collection.add_folder(folder).unchanged == 3 * BATCH
    assert until(jobs, jobs.submit("move", {}).id).result["encoded"] == 3 * BATCH


def test_a_service_that_stops_amid_an_index_goes_on_with_it(
    open_jobs, open_collection, photos, tiny_encoder, monkeypatch, until
):
    monkeypatch.setattr(batch, "BATCH_FILES", 2)
    gate = Gate(tiny_encoder, monkeypatch, 3)

    def index(arguments, job):
        with open_collection() as collection:
            return index_folder(collection, photos)

    jobs = open_jobs(index=index)
    job = jobs.submit("index", {})
    assert gate.waiting.wait(20)
    closing = threading.Thread(target=jobs.close)
    closing.start()
    gate.open.set()
    closing.join(20)
    result = until(open_jobs(index=index), job.id).result
    assert result["added"] + result["unchanged"] == 12
    assert result["unchanged"] > 0


# Moving to another encoder


def test_a_move_compares_switches_and_says_so(collection, photos, wider_encoder):
    collection.add_folder(photos)
    (photos / "005.png").write_bytes(b"bad now")
    result = re_encode(collection, wider_encoder)
    assert json.loads(json.dumps(result)) == result
    comparison = result.pop("comparison")
    assert (comparison["pictures"], comparison["top"]) == (11, 10)
    assert (comparison["recall"], comparison["recall_before"]) == (1.0, 1.0)
    assert 0.5 < comparison["overlap"] <= 1.0  # ten of eleven others
    assert result.pop("failed")[0]["picture"] == "005.png"
    assert result == {"pictures": 11, "encoded": 11, "switched": True, "failed_count": 1}
    assert collection.contract["fingerprint"] == wider_encoder.fingerprint


def test_without_a_switch_it_compares_and_a_switch_later_encodes_nothing(collection, photos, wider_encoder):
    collection.add_folder(photos)
    before = vectors(collection)
    result = re_encode(collection, wider_encoder, switch=False)
    assert (result["switched"], result["encoded"], result["pictures"]) == (False, 12, 12)
    assert vectors(collection) == before
    result = re_encode(collection, wider_encoder)
    assert (result["switched"], result["encoded"]) == (True, 0)
    assert vectors(collection).keys() == before.keys()


def test_a_move_to_the_encoder_that_is_there_does_nothing(collection, photos, tiny_encoder, monkeypatch):
    """So after a kill between the switch and the end of the job."""
    collection.add_folder(photos)
    monkeypatch.setattr(tiny_encoder, "_run_image", pytest.fail)
    result = re_encode(collection, tiny_encoder)
    assert (result["switched"], result["encoded"], result["comparison"]) == (True, 0, None)


def test_an_index_that_finds_too_little_is_not_switched_to(collection, photos, wider_encoder, monkeypatch):
    collection.add_folder(photos)
    before = vectors(collection)
    recall = {True: 0.75, False: 1.0}
    monkeypatch.setattr(Store, "recall", lambda self, queries, top: recall[self.dimension == 64])
    with pytest.raises(StoreError, match=r"finds 0\.750 of what .* below the least_recall of 0\.9 \(the old one: 1\.0"):
        re_encode(collection, wider_encoder)
    assert vectors(collection) == before
    assert collection.add_folder(photos).unchanged == 12
    result = re_encode(collection, wider_encoder, least_recall=0.75)
    assert (result["switched"], result["encoded"], result["comparison"]["recall"]) == (True, 0, 0.75)


def test_another_unfinished_move_is_thrown_away_only_where_that_is_asked_for(
    collection, photos, wider_encoder, encoder_of_another_kind
):
    collection.add_folder(photos)
    re_encode(collection, wider_encoder, switch=False)
    with pytest.raises(FingerprintMismatch, match="an unfinished move"):
        re_encode(collection, encoder_of_another_kind)
    assert re_encode(collection, encoder_of_another_kind, discard=True)["switched"]
