from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from anmok.collections import Collection, Comparison, IndexReport
from anmok.collections.comparison import compare
from anmok.errors import FingerprintMismatch, StoreError
from anmok.store import Store, StoreLimits

needs_posix = pytest.mark.skipif(os.name != "posix", reason="kills and renames of open files are POSIX's")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c.anmok"


@pytest.fixture
def old(path, encoder, photos):
    with Collection(path, encoder=encoder) as collection:
        collection.add_folder(photos)
        yield collection


@pytest.fixture
def newer(tmp_path, encoder_type):
    return encoder_type(tmp_path / "newer.log", version="2")


def only(path):
    """The collection's folder stands alone, nothing of the move is left."""
    return sorted(entry.name for entry in path.parent.iterdir() if "anmok" in entry.name) == [path.name]


def same_as_fresh(collection, encoder, photos, tmp_path):
    with Collection(tmp_path / "fresh", encoder=encoder) as fresh:
        fresh.add_folder(photos)
        assert sorted(collection.keys()) == sorted(fresh.keys())
        for item in fresh.get(fresh.keys()):
            np.testing.assert_array_equal(collection.get([item.key])[0].vector, item.vector)
    shutil.rmtree(tmp_path / "fresh")


def test_re_encode_moves_to_the_new_encoder(old, path, newer, photos, tmp_path):
    old.upsert([photos / "sun.png"], metadata={"tag": "warm"})
    (photos / "bad.png").write_bytes(b"bad")
    old.add_folder(photos)
    with Collection(path) as collection:
        assert collection.re_encode(newer) == IndexReport(changed=4)
        assert collection.contract["fingerprint"] == newer.fingerprint
        assert collection.search("yellow", top=1)[0].metadata["tag"] == "warm"
        assert [Path(failure.picture).name for failure in collection.failed] == ["bad.png"]
        assert collection.folders == old.folders
        same_as_fresh(collection, newer, photos, tmp_path)
        report = collection.add_folder(photos)
        assert (report.unchanged, len(report.failed)) == (4, 1)
    assert only(path)
    with pytest.raises(FingerprintMismatch, match="colors-1"):
        Collection(path, encoder=old.encoder)


@needs_posix
def test_who_has_the_old_one_open_reads_on_and_is_refused_when_writing(old, path, newer, photos):
    with Collection(path) as collection:
        collection.re_encode(newer)
    assert old.search("red", top=1)[0].metadata["name"] == "a.png"
    with pytest.raises(StoreError, match="was moved to the encoder colors-2 meanwhile: open the collection again"):
        old.add_folder(photos)
    with pytest.raises(StoreError, match="open the collection again"):
        old.delete(old.keys())


def test_files_that_changed_or_went_are_encoded_as_they_are_or_listed(old, path, newer, photos, paint):
    paint(photos / "sun.png", "white")
    (photos / "tree.jpg").unlink()
    report = old.re_encode(newer)
    assert report.changed == 3
    assert [(Path(failure.picture).name, failure.error) for failure in report.failed] == [
        ("tree.jpg", "there is no such file any more")
    ]
    assert old.search("white", top=1)[0].metadata["name"] == "sun.png"
    assert old.add_folder(photos) == IndexReport(unchanged=3)
    assert old.failed == ()


def test_pictures_from_memory_and_missing_folders_stop_it_before_it_begins(old, path, newer, photos):
    old.add([np.zeros((2, 2, 3), np.uint8)], keys=["memory"])
    with pytest.raises(StoreError, match=r"1 pictures of .* came from memory .*'memory'"):
        old.re_encode(newer)
    old.delete(["memory"])
    photos.rename(photos.with_name("unplugged"))
    with pytest.raises(StoreError, match=r"the folder .*photos is not there"):
        old.re_encode(newer)
    assert only(path)
    assert len(old) == 4


# Looking before the switch


def test_a_check_sees_how_the_new_one_answers_and_may_keep_the_old_one(old, path, newer, photos, tmp_path):
    seen = []
    report = old.re_encode(newer, check=lambda comparison: seen.append(comparison) or False)
    assert report == IndexReport(changed=4)
    assert seen == [Comparison(pictures=4, top=10, overlap=1.0, recall=1.0, recall_before=1.0)]
    assert old.contract["encoder"] == "colors-1"
    assert old.search("red", top=1)[0].metadata["name"] == "a.png"
    assert old.add_folder(photos) == IndexReport(unchanged=4)
    assert old.re_encode(newer, check=lambda comparison: True) == IndexReport()  # what was encoded is used
    assert old.contract["encoder"] == "colors-2"
    same_as_fresh(old, newer, photos, tmp_path)
    assert only(path)


def test_what_a_check_raises_leaves_the_old_one(old, path, newer, photos, tmp_path):
    def refuse(comparison):
        raise StoreError("not good enough")

    with pytest.raises(StoreError, match="not good enough"):
        old.re_encode(newer, check=refuse)
    assert old.add_folder(photos) == IndexReport(unchanged=4)
    old.re_encode(newer)
    same_as_fresh(old, newer, photos, tmp_path)


def test_changes_made_while_the_check_looks_are_in_the_new_one(old, path, newer, photos, paint, tmp_path):
    def change(comparison):
        (photos / "tree.jpg").unlink()
        paint(photos / "sun.png", "white")
        paint(photos / "new.png", "black")
        with Collection(path, encoder=old.encoder) as other:
            other.add_folder(photos)
        return True

    old.re_encode(newer, check=change)
    same_as_fresh(old, newer, photos, tmp_path)


def test_an_unfinished_move_gives_way_to_another_only_where_that_is_asked_for(old, path, newer, encoder_type):
    third = encoder_type(version="3")
    old.re_encode(newer, check=lambda comparison: False)
    with pytest.raises(FingerprintMismatch, match=r"an unfinished move to 'colors-2' .* \(discard=True, or"):
        old.re_encode(third)
    assert newer.encoded == 4
    old.re_encode(newer, check=lambda comparison: False, discard=True)  # the same encoder: it goes on
    assert newer.encoded == 4
    (path.parent / "c.anmok.discarded").mkdir()  # as a kill leaves it
    assert old.re_encode(third, discard=True) == IndexReport(changed=4)
    assert old.contract["encoder"] == "colors-3"
    assert only(path)


@needs_posix
def test_a_move_whose_work_another_one_threw_away_does_not_switch(old, path, newer, photos, encoder_type):
    def meddle(comparison):
        with Collection(path) as other:
            other.re_encode(encoder_type(version="3"), check=lambda comparison: False, discard=True)
        return True

    with pytest.raises(StoreError, match="another process threw away what was at"):
        old.re_encode(newer, check=meddle)
    assert old.contract["encoder"] == "colors-1"
    assert old.add_folder(photos) == IndexReport(unchanged=4)


def test_the_overlap_counts_shared_neighbours_and_the_recall_what_the_index_finds(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    vectors, keys = rng.normal(size=(200, 8)), [f"{number:03}" for number in range(200)]
    with (
        Store.open(tmp_path / "old", dimension=8, create=True) as old,
        Store.open(tmp_path / "same", dimension=8, create=True) as same,
        Store.open(tmp_path / "other", dimension=8, create=True, limits=StoreLimits(exact_rows=100)) as other,
    ):
        old.upsert(keys, vectors)
        same.upsert(keys, 3 * vectors)
        other.upsert(keys[:150], rng.normal(size=(150, 8)))
        assert compare(old, same) == Comparison(100, 10, 1.0, 1.0, 1.0)
        assert compare(old, old, pictures=7, top=3) == Comparison(7, 3, 1.0, 1.0, 1.0)
        found = compare(old, other)
        assert found.overlap < 0.2
        assert 0.9 <= found.recall <= 1.0
        monkeypatch.setattr(other, "recall", lambda queries, top: 0.5)
        assert compare(old, other).recall == 0.5


def test_nothing_to_ask_with_is_no_error(tmp_path):
    with Store.open(tmp_path / "old", dimension=2, create=True) as old:
        assert compare(old, old) == Comparison(0, 10, 1.0, 1.0, 1.0)
        old.upsert(["one"], [[1, 0]])
        assert compare(old, old) == Comparison(1, 10, 1.0, 1.0, 1.0)


SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from conftest import FakeEncoder
from anmok.collections import Collection, batch, reencode
base, die_in, die_at = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
batch.BATCH_FILES = 2
die = lambda *values: os.kill(os.getpid(), 9)
if die_in == "swap":  # before the first step that changes the folder's place, or between the two renames
    calls, rename = 0, Path.rename
    def dying(self, target):
        global calls
        calls += 1
        return die() if calls == die_at else rename(self, target)
    Path.rename = dying
elif die_in == "cleanup":
    reencode.shutil.rmtree = lambda *values, **options: die()
encoder = FakeEncoder(base / "newer.log", version="2", die_at=die_at if die_in == "encode" else None)
Collection(base / "c.anmok").re_encode(encoder)
"""


def run_and_die(tmp_path, die_in, die_at):
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path), die_in, str(die_at)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


@needs_posix
def test_a_kill_while_encoding_leaves_the_old_one_usable_and_the_next_run_goes_on(old, path, newer, photos, tmp_path):
    run_and_die(tmp_path, "encode", 3)
    with Collection(path, encoder=old.encoder) as again:
        assert again.search("red", top=1)[0].metadata["name"] == "a.png"
        other = type(newer)(version="3")
        with pytest.raises(FingerprintMismatch, match="an unfinished move to 'colors-2'"):
            again.re_encode(other)
        assert again.re_encode(newer) == IndexReport(changed=2)
        same_as_fresh(again, newer, photos, tmp_path)
    assert only(path)


@needs_posix
def test_changes_made_between_two_runs_are_in_the_new_one(old, path, newer, photos, paint, tmp_path):
    run_and_die(tmp_path, "encode", 3)
    paint(photos / "bags" / "a.png", "black")
    (photos / "bags" / "b.png").unlink()  # the run that was cut short has encoded it already
    (photos / "sun.png").unlink()
    paint(photos / "new.png", "white")
    old.add_folder(photos)
    old.re_encode(newer)
    same_as_fresh(old, newer, photos, tmp_path)


@needs_posix
@pytest.mark.parametrize(("die_in", "die_at"), [("swap", 1), ("swap", 2), ("cleanup", 0)])
def test_a_kill_at_any_step_of_the_swap_is_finished_by_the_next_opening(
    die_in, die_at, old, path, newer, photos, tmp_path
):
    old.close()
    run_and_die(tmp_path, die_in, die_at)
    with Collection(path, encoder=newer) as collection:
        same_as_fresh(collection, newer, photos, tmp_path)
        assert collection.check().ok
    assert only(path)
