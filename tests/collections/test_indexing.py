from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anmok import progress
from anmok.collections import Collection, Failure, IndexReport, batch, folder, indexing
from anmok.errors import PictureError, StoreBusy, StoreError
from anmok.store import Store, StoreLimits

needs_posix = pytest.mark.skipif(os.name != "posix", reason="links, permissions and such names are POSIX's")


@pytest.fixture
def collection(tmp_path, encoder):
    with Collection(tmp_path / "c.anmok", encoder=encoder) as collection:
        yield collection


def rows(collection):
    """path → (content hash, rounded vector) of everything in a collection."""
    items = collection.get(collection.keys())
    return {item.key: (item.metadata["hash"], tuple(np.round(item.vector, 2))) for item in items}


def no_reading(monkeypatch):
    monkeypatch.setattr("anmok.collections.indexing.read_content", lambda path: pytest.fail(f"read {path}"))


# What changes


def test_first_run_adds_and_second_run_reads_nothing(collection, photos, encodings, monkeypatch):
    assert collection.add_folder(photos) == IndexReport(added=4)
    assert encodings() == 4
    no_reading(monkeypatch)
    assert collection.add_folder(str(photos)) == IndexReport(unchanged=4)


def test_verify_sees_a_change_that_size_and_time_hide(collection, photos, paint):
    picture = photos / "sun.png"
    collection.add_folder(photos)
    before = picture.stat()
    content = bytearray(picture.read_bytes())
    paint(picture, (241, 220, 40))
    assert picture.stat().st_size == len(content)
    os.utime(picture, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert collection.add_folder(photos) == IndexReport(unchanged=4)
    assert collection.add_folder(photos, verify=True) == IndexReport(unchanged=3, changed=1)


def test_a_touched_file_is_hashed_once_and_not_encoded(collection, photos, encodings, monkeypatch):
    collection.add_folder(photos)
    os.utime(photos / "sun.png", ns=(1, 1))
    assert collection.add_folder(photos) == IndexReport(unchanged=4)
    assert encodings() == 4
    no_reading(monkeypatch)
    assert collection.add_folder(photos) == IndexReport(unchanged=4)


def test_moved_changed_and_removed_are_told_apart(collection, photos, paint, encodings):
    collection.add_folder(photos)
    (photos / "new").mkdir()
    (photos / "bags" / "a.png").rename(photos / "new" / "bag.png")
    paint(photos / "tree.jpg", "white")
    (photos / "sun.png").unlink()
    paint(photos / "fresh.png", "black")
    report = collection.add_folder(photos)
    assert report == IndexReport(added=1, unchanged=1, moved=1, changed=1, removed=1)
    assert encodings() == 4 + 2
    hit = collection.search("red", top=1)[0]
    assert (hit.metadata["path"], hit.metadata["folder"], hit.metadata["width"]) == ("new/bag.png", "new", 12)
    assert len(collection) == 4


def test_files_that_change_places_are_not_encoded_again(collection, photos, encodings):
    collection.add_folder(photos)
    a, b = photos / "bags" / "a.png", photos / "bags" / "b.png"
    a.rename(photos / "x")
    b.rename(a)
    (photos / "x").rename(b)
    assert collection.add_folder(photos) == IndexReport(unchanged=2, changed=2)
    assert encodings() == 4
    assert collection.search("red", top=1)[0].metadata["name"] == "b.png"
    assert collection.search("red", top=1)[0].metadata["width"] == 12


def test_copies_are_encoded_once_and_listed_each(collection, photos, encodings):
    shutil.copy(photos / "sun.png", photos / "bags" / "sun2.png")
    assert collection.add_folder(photos) == IndexReport(added=5)
    shutil.copy(photos / "sun.png", photos / "sun3.png")
    assert collection.add_folder(photos) == IndexReport(added=1, unchanged=5)
    assert encodings() == 4
    found = collection.search("yellow", top=3)
    assert {hit.metadata["name"] for hit in found} == {"sun.png", "sun2.png", "sun3.png"}
    assert {hit.metadata["width"] for hit in found} == {12}


def test_removal_stays_inside_the_folder_that_is_indexed(collection, photos, tmp_path, paint, encodings):
    paint(tmp_path / "photos2" / "white.png", "white")
    shutil.copy(photos / "sun.png", tmp_path / "photos2" / "sun.png")
    assert collection.add_folder(photos).added == 4
    assert collection.add_folder(tmp_path / "photos2") == IndexReport(added=2)
    assert encodings() == 5
    (tmp_path / "photos2" / "white.png").unlink()
    (photos / "sun.png").unlink()
    assert collection.add_folder(photos / "bags") == IndexReport(unchanged=2)  # a folder inside one that is known
    assert len(collection) == 6
    assert collection.add_folder(photos) == IndexReport(unchanged=3, removed=1)
    assert len(collection) == 5
    assert {Path(name).name for name in collection.folders} == {"photos", "photos2", "bags"}


def test_remove_folder_takes_out_rows_and_failures(collection, photos, tmp_path):
    (photos / "bags" / "bad.png").write_bytes(b"bad")
    collection.add_folder(photos)
    assert collection.remove_folder(photos / "bags") == 2
    assert collection.failed == ()
    assert len(collection) == 2
    assert collection.remove_folder(photos) == 2
    assert collection.folders == ()
    with pytest.raises(StoreError, match="has nothing of"):
        collection.remove_folder(tmp_path / "other")


def test_an_emptied_folder_is_emptied_but_an_unmounted_one_is_not(collection, photos, monkeypatch):
    collection.add_folder(photos)
    for path in list(photos.rglob("*.*g")):
        path.unlink()
    key = photos.resolve().as_posix()
    device = photos.stat().st_dev
    collection._store.documents("folders")[key] = {"device": device + 1}
    with pytest.raises(StoreError, match="is the disk mounted"):
        collection.add_folder(photos)
    assert len(collection) == 4
    collection._store.documents("folders")[key] = {"device": device}
    assert collection.add_folder(photos) == IndexReport(removed=4)


def test_a_missing_folder_is_an_error_and_removes_nothing(collection, photos):
    collection.add_folder(photos)
    photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(PictureError, match="there is no such folder"):
        collection.add_folder(photos)
    assert len(collection) == 4


def test_a_picture_that_became_a_folder_is_removed(collection, photos, paint):
    collection.add_folder(photos)
    (photos / "sun.png").unlink()
    paint(photos / "sun.png" / "in.png", "white")
    assert collection.add_folder(photos) == IndexReport(added=1, unchanged=3, removed=1)


# What fails


def test_a_failure_is_kept_and_tried_again_only_when_the_file_changes(collection, photos, paint, monkeypatch):
    bad = photos / "bad.png"
    bad.write_bytes(b"not a picture at all")
    first = collection.add_folder(photos)
    assert first.added == 4
    assert [Path(failure.picture).name for failure in first.failed] == ["bad.png"]
    with monkeypatch.context() as patch:
        no_reading(patch)
        assert collection.add_folder(photos) == IndexReport(unchanged=4, failed=first.failed)
    os.utime(bad, ns=(5, 5))  # touched, but the same bytes
    assert collection.add_folder(photos).failed == first.failed
    assert collection.failed == first.failed
    paint(bad, "white")
    assert collection.add_folder(photos) == IndexReport(added=1, unchanged=4)
    assert collection.failed == ()


def test_retry_tries_a_failure_again(collection, photos, encoder, monkeypatch):
    shutil.copy(photos / "sun.png", photos / "again.png")
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[type(encoder).__module__], "read", _refuse)
        assert len(collection.add_folder(photos).failed) == 5
    assert len(collection.add_folder(photos).failed) == 5
    assert collection.add_folder(photos, retry=True) == IndexReport(added=5)


def _refuse(source):
    raise PictureError("it", "no decoder today")


def test_a_picture_that_breaks_leaves_the_collection_and_a_deleted_failure_is_forgotten(collection, photos):
    collection.add_folder(photos)
    (photos / "sun.png").write_bytes(b"broken now")
    report = collection.add_folder(photos)
    assert (report.unchanged, report.changed, len(report.failed)) == (3, 0, 1)
    assert len(collection) == 3
    (photos / "sun.png").unlink()
    assert collection.add_folder(photos) == IndexReport(unchanged=3)
    assert collection.failed == ()


@needs_posix
def test_links_pipes_and_loops(collection, photos):
    (photos / "bags" / "loop").symlink_to(photos)
    (photos / "linked.png").symlink_to(photos / "sun.png")
    (photos / "dangling.png").symlink_to(photos / "nowhere.png")
    os.mkfifo(photos / "pipe.png")
    report = collection.add_folder(photos)
    assert report.added == 5
    reasons = {Path(failure.picture).name: failure.error for failure in report.failed}
    assert reasons == {"dangling.png": "is a link to a file that is not there", "pipe.png": "is not a regular file"}


@needs_posix
def test_the_same_folder_through_a_link_is_the_same_folder(collection, photos, tmp_path):
    (tmp_path / "link").symlink_to(photos)
    collection.add_folder(photos)
    assert collection.add_folder(tmp_path / "link") == IndexReport(unchanged=4)


@needs_posix
def test_names_of_every_kind(collection, photos, paint):
    composed, decomposed = "\u00e9.png", "e\u0301.png"  # look the same, and are two files
    strange = ["가방 (1).png", composed, decomposed, "😀\n.png", "a'; DROP TABLE items; --.png", "%_\\.png"]
    for number, name in enumerate(strange):
        paint(photos / name, (number * 20, 0, 99))
    bad_utf8 = os.fsdecode(b"caf\xe9.png")
    paint(photos / bad_utf8, "white")
    assert collection.add_folder(photos) == IndexReport(added=4 + len(strange) + 1)
    assert collection.add_folder(photos) == IndexReport(unchanged=4 + len(strange) + 1)
    assert collection.search("white", top=1)[0].file == (photos / bad_utf8).resolve()
    (photos / bad_utf8).rename(photos / "cafe.png")
    (photos / strange[3]).write_bytes(b"broken")
    report = collection.add_folder(photos)
    assert (report.moved, len(report.failed)) == (1, 1)


def test_a_file_that_vanishes_between_walk_and_read(collection, photos, monkeypatch):
    collection.add_folder(photos)
    walked = list(folder.walk(photos.resolve(), pytest.fail))
    (photos / "sun.png").unlink()
    monkeypatch.setattr("anmok.collections.indexing.walk", lambda root, on_error: [*walked, f"{root}/never.png"])
    assert collection.add_folder(photos) == IndexReport(unchanged=3, removed=1)
    assert collection.failed == ()


def test_a_file_that_changes_while_it_is_read_is_taken_up_by_the_next_run(collection, photos, paint, monkeypatch):
    real = folder.file_state
    seen = []

    def state(path):
        if path.endswith("sun.png"):
            seen.append(path)
            if len(seen) == 3:  # after it was read
                paint(Path(path), "white", (40, 40))
        return real(path)

    monkeypatch.setattr(folder, "file_state", state)
    monkeypatch.setattr("anmok.collections.indexing.file_state", state)
    report = collection.add_folder(photos)
    assert report.added == 3
    assert "changed while it was read" in report.failed[0].error
    monkeypatch.undo()
    assert collection.add_folder(photos) == IndexReport(added=1, unchanged=3)
    assert collection.search("white", top=1)[0].metadata["name"] == "sun.png"


def test_a_file_over_the_limit_is_refused(collection, photos, monkeypatch):
    monkeypatch.setattr(folder, "MAX_FILE_BYTES", 10)
    report = collection.add_folder(photos)
    assert len(report.failed) == 4
    assert "more than the 10 that a picture file may have" in report.failed[0].error


def test_a_file_that_cannot_be_read_for_now_keeps_its_row(collection, photos, monkeypatch):
    collection.add_folder(photos)
    os.utime(photos / "sun.png", ns=(7, 7))

    def refuse(path):
        raise PictureError(path, "no permission to read it")

    with monkeypatch.context() as patch:
        patch.setattr("anmok.collections.indexing.read_content", refuse)
        report = collection.add_folder(photos)
    assert (report.unchanged, report.removed, len(report.failed)) == (3, 0, 1)
    assert len(collection) == 4
    assert collection.add_folder(photos) == IndexReport(unchanged=4)
    assert collection.failed == ()


def test_a_folder_that_cannot_be_listed_for_now_keeps_its_rows(collection, photos, monkeypatch):
    collection.add_folder(photos)

    def walk(root, on_error):
        on_error(PictureError(f"{root}/bags", "cannot list this folder: no permission to read it"))
        return [f"{root}/sun.png", f"{root}/tree.jpg"]

    monkeypatch.setattr("anmok.collections.indexing.walk", walk)
    report = collection.add_folder(photos)
    assert report == IndexReport(unchanged=2, failed=(Failure(report.failed[0].picture, report.failed[0].error),))
    assert len(collection) == 4


def test_batches_are_cut_by_files_and_by_bytes(collection, tmp_path, paint, encoder, monkeypatch):
    for number in range(12):
        paint(tmp_path / "many" / f"{number:02}.png", (number * 20, 0, 0))
    sizes = []
    real = type(encoder).encode_image
    monkeypatch.setattr(
        type(encoder),
        "encode_image",
        lambda self, items, **options: sizes.append(len(items)) or real(self, items, **options),
    )
    monkeypatch.setattr(batch, "BATCH_FILES", 5)
    collection.add_folder(tmp_path / "many")
    monkeypatch.setattr(batch, "BATCH_BYTES", 1)
    for number in range(12):
        paint(tmp_path / "many" / f"{number:02}.png", (number * 20, 9, 0))
    collection.add_folder(tmp_path / "many")
    assert sorted(sizes[:3]) == [2, 5, 5]
    assert sizes[3:] == [1] * 12


def test_files_are_read_while_a_batch_is_encoded(collection, tmp_path, paint, encoder, monkeypatch):
    folder = many(tmp_path, paint, 6)
    monkeypatch.setattr(batch, "BATCH_FILES", 2)
    fifth_is_read = threading.Event()
    encode, read = type(encoder).encode_image, indexing.read_content

    def waiting(self, items, **options):
        assert fifth_is_read.wait(20)
        return encode(self, items, **options)

    def reading(path):
        if path.endswith("04.png"):
            fifth_is_read.set()
        return read(path)

    monkeypatch.setattr(type(encoder), "encode_image", waiting)
    monkeypatch.setattr(indexing, "read_content", reading)
    assert collection.add_folder(folder) == IndexReport(added=6)
    written = collection.keys()
    assert [Path(key).name for key in written] == [f"{number:02}.png" for number in range(6)]


@pytest.mark.parametrize("files", [1, 2, 3])
def test_copies_in_batches_that_are_not_written_yet_are_encoded_once(
    files, collection, tmp_path, paint, encodings, monkeypatch
):
    monkeypatch.setattr(batch, "BATCH_FILES", files)
    for number in range(6):
        paint(tmp_path / "many" / f"{number}.png", (50 * (number % 2), 0, 0))
    (tmp_path / "many" / "6.png").write_bytes(b"broken")
    shutil.copy(tmp_path / "many" / "6.png", tmp_path / "many" / "7.png")
    report = collection.add_folder(tmp_path / "many")
    assert (report.added, len(report.failed), encodings()) == (6, 2, 2)
    assert len({vector for _, vector in rows(collection).values()}) == 2


def test_what_an_encoder_throws_ends_the_run_and_keeps_what_was_written(collection, tmp_path, paint, monkeypatch):
    folder = many(tmp_path, paint, 12)
    monkeypatch.setattr(batch, "BATCH_FILES", 2)
    encode = type(collection.encoder).encode_image

    def failing(self, items, **options):
        if self.encoded >= 8:
            raise MemoryError("too large")
        return encode(self, items, **options)

    monkeypatch.setattr(type(collection.encoder), "encode_image", failing)
    with pytest.raises(MemoryError, match="too large"):
        collection.add_folder(folder)
    assert 4 <= len(collection) <= 8
    monkeypatch.setattr(type(collection.encoder), "encode_image", encode)
    assert collection.add_folder(folder).unchanged >= 4
    assert len(collection) == 12


def test_a_listener_ends_a_run_amid_a_batch_and_the_next_one_goes_on(collection, tmp_path, paint, monkeypatch):
    class Enough(BaseException):
        pass

    def listener(report):
        if len(collection) >= 4 and not report.finished:
            raise Enough

    folder = many(tmp_path, paint, 12)
    monkeypatch.setattr(batch, "BATCH_FILES", 2)
    with pytest.raises(Enough), progress.listen(listener):
        collection.add_folder(folder)
    written = len(collection)
    assert written in (4, 6)
    assert collection.check().ok
    assert collection.add_folder(folder) == IndexReport(added=12 - written, unchanged=written)


# Any sequence of changes

steps = st.lists(
    st.tuples(
        st.sampled_from(["paint", "paint", "move", "copy", "delete", "break", "touch"]),
        st.sampled_from(["a.png", "b.png", "s/c.png", "s/d.png", "t/e.png"]),
        st.sampled_from(["a.png", "b.png", "s/c.png", "s/f.png", "u/g.png"]),
        st.integers(0, 3),
    ),
    max_size=7,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs=st.lists(steps, min_size=2, max_size=3))
def test_after_any_changes_a_run_equals_a_fresh_index(runs, tmp_path_factory, encoder_type, paint):
    base = tmp_path_factory.mktemp("random")
    folder, clock = base / "f", 0
    folder.mkdir()
    with Collection(base / "kept.anmok", encoder=encoder_type()) as kept:
        for run in runs:
            for kind, first, second, color in run:
                clock += 1
                _change(folder, kind, first, second, (80 * color, 40, 0), paint, clock)
            report = kept.add_folder(folder)
        files = sum(1 for path in folder.rglob("*") if path.is_file())
        assert report.added + report.unchanged + report.moved + report.changed + len(report.failed) == files
        with Collection(base / "fresh.anmok", encoder=encoder_type()) as fresh:
            fresh.add_folder(folder)
            assert rows(kept) == rows(fresh)
            assert kept.failed == fresh.failed
        assert kept.check().ok
    shutil.rmtree(base)


def _change(folder, kind, first, second, color, paint, clock):
    source, target = folder / first, folder / second
    target.parent.mkdir(exist_ok=True)
    if kind == "paint":
        paint(source, color)
    elif kind == "break":
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(b"broken %d" % color[0])
    elif not source.exists():
        return
    elif kind == "move":
        source.replace(target)
    elif kind == "copy" and source != target:
        shutil.copy(source, target)
    elif kind == "delete":
        source.unlink()
    if kind in ("paint", "break", "touch"):  # a clock of its own: two writes may fall into one tick of the real one
        os.utime(source, ns=(clock * 10**9, clock * 10**9))


# Several processes, and kills


def test_a_writer_waits_for_another_and_then_says_so(collection, photos, tmp_path, encoder):
    limits = StoreLimits(busy_timeout_s=0.05)
    with Collection(tmp_path / "c.anmok", encoder=encoder) as other:
        other._store.close()
        other._store = Store.open(tmp_path / "c.anmok", limits=limits)
        with collection._store.transaction(), pytest.raises(StoreBusy, match="another process is writing"):
            other.add_folder(photos)
        assert other.add_folder(photos).added == 4
    assert len(collection) == 4


SCRIPT = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from conftest import FakeEncoder
from anmok.collections import Collection, batch, collection
from anmok.store import Store
base, die_in, die_at = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
batch.BATCH_FILES = 5
calls = 0

def dying(method):
    def call(*values, **options):
        global calls
        calls += 1
        result = method(*values, **options)
        if calls == die_at:
            os.kill(os.getpid(), 9)
        return result
    return call

if die_in in ("upsert", "delete"):
    setattr(Store, die_in, dying(getattr(Store, die_in)))
encoder = FakeEncoder(base / "encoded.log", die_at=die_at if die_in == "encode" else None)
print(Collection(base / "c.anmok", encoder=encoder).add_folder(base / "many"))
"""


def start(tmp_path, die_in="never", die_at=0):
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path), die_in, str(die_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def many(tmp_path, paint, count=22):
    for number in range(count):
        paint(tmp_path / "many" / f"{number:02}.png", (number * 10, 50, 0))
    return tmp_path / "many"


@needs_posix
@pytest.mark.parametrize(("die_in", "die_at", "most"), [("encode", 12, 10), ("upsert", 3, 10), ("delete", 4, 15)])
def test_a_kill_loses_nothing_committed_and_the_next_run_goes_on(
    die_in, die_at, most, tmp_path, paint, encoder, encodings
):
    """The kills fall between batches' encoding, inside a transaction after its rows, and after its deletions."""
    folder = many(tmp_path, paint)
    process = start(tmp_path, die_in, die_at)
    _, errors = process.communicate()
    assert process.returncode == -9, errors
    with Collection(tmp_path / "c.anmok", encoder=encoder) as collection:
        committed = len(collection)
        # what is being encoded is not written yet: up to two batches of five
        assert committed in ((0, 5, 10) if die_in == "encode" else (most,))
        assert collection.check().ok
        before = encodings()
        assert collection.add_folder(folder) == IndexReport(added=22 - committed, unchanged=committed)
        assert encodings() - before == 22 - committed  # nothing that was committed is encoded again
        assert len(rows(collection)) == 22
        assert collection.search("red", top=1)[0].path.endswith("21.png")


@needs_posix
def test_two_processes_index_the_same_folder_at_once(tmp_path, paint, encoder):
    many(tmp_path, paint)
    processes = [start(tmp_path), start(tmp_path)]
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "failed=()" in output
    with Collection(tmp_path / "c.anmok", encoder=encoder) as collection:
        assert len(collection) == 22
        assert collection.check().ok
        assert collection.add_folder(tmp_path / "many") == IndexReport(unchanged=22)
