import contextlib
import sqlite3

import pytest

from anmok.errors import StoreError
from anmok.store import StoreStats
from anmok.store.database import DATABASE, PAGE_BYTES
from anmok.store.index import INDEX


def raw(path, statement):
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection:
        connection.execute(statement)
        connection.commit()


def test_sound_store_passes_the_check(store, fill):
    fill(store, 150)
    report = store.check()
    assert (report.rows, report.dimension, report.generation, report.index) == (150, 8, 1, "current")
    assert report.ok
    assert report.problems == ()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM vectors WHERE id = 5", "1 rows without a vector"),
        ("DELETE FROM items WHERE id = 5", "1 vectors without a row"),
        ("UPDATE vectors SET vector = x'0000' WHERE id = 5", "1 vectors are not of 8 dimensions"),
        (
            "UPDATE vectors SET vector = zeroblob(16) WHERE id = 5",
            "1 vectors are not of unit length (for example 'k4')",
        ),
        (
            "UPDATE vectors SET vector = x'007E007E007E007E007E007E007E007E' WHERE id IN (5, 6)",
            "2 vectors are not of unit length",
        ),
        ("UPDATE documents SET value = '{'", "1 documents that are not JSON"),
        (
            "UPDATE vectors SET vector = (SELECT vector FROM vectors WHERE id = 9) WHERE id = 5",
            "the index differs from the database in 1 of 150 rows",
        ),
    ],
)
def test_check_finds_what_is_wrong(opened, store, fill, path, statement, problem):
    fill(store, 150)
    store.documents("files")["a"] = 1
    store.close()
    raw(path, statement)
    report = opened().check()
    assert not report.ok
    assert any(problem in text for text in report.problems), report.problems


def test_check_finds_damaged_pages(opened, store, fill, path):
    fill(store, 2000)
    store.close()
    content = bytearray((path / DATABASE).read_bytes())
    content[PAGE_BYTES * 8 : PAGE_BYTES * 8 + 200] = bytes(200)
    (path / DATABASE).write_bytes(content)
    assert opened().check().problems


def test_check_tells_of_a_damaged_index(store, fill, path):
    fill(store, 150)
    (path / INDEX).write_bytes(b"x" * 1000)
    report = store.check()
    assert report.index == "none"
    assert "the index cannot be used" in report.problems[0]
    store.compact()
    assert store.check().ok


def test_compact_gives_room_back_and_keeps_the_rows(opened, store, fill, path):
    fill(store, 3000)
    store.refresh_index()
    store.delete([f"k{number}" for number in range(2800)])
    rows = store.keys()
    found = store.search([[1.0] * 8], 5)
    before = sum(file.stat().st_size for file in path.iterdir())
    freed = store.compact()
    assert freed > before / 2
    assert store.keys() == rows
    assert store.search([[1.0] * 8], 5) == found
    assert store.stats().indexed == 200
    assert store.check().ok
    assert opened(readonly=True).keys() == rows


def test_compact_inside_a_transaction_is_refused(store):
    with store.transaction(), pytest.raises(StoreError, match="cannot be compacted"):
        store.compact()


def test_stats_count_rows_and_bytes(store, fill, path):
    fill(store, 150)
    fill(store, 10, first=150)
    assert store.stats() == StoreStats(
        rows=160,
        dimension=8,
        generation=2,
        database_bytes=(path / DATABASE).stat().st_size,
        index_bytes=(path / INDEX).stat().st_size,
        indexed=150,
        newer=10,
    )


def test_backup_is_a_store_of_its_own(opened, store, fill, path, tmp_path):
    rows = fill(store, 150)
    store.documents("files")["a"] = 1
    target = tmp_path / "backups" / "monday.anmok"
    store.backup(target)
    fill(store, 5, first=150)
    copy = opened(target)
    assert copy.keys() == store.keys()[:150]
    assert copy.search(rows[:3], 4) == store.search(rows[:3], 4, where={"n": {"lt": 150}})
    assert dict(copy.documents("files")) == {"a": 1}
    assert copy.check().ok
    assert [file.name for file in target.parent.iterdir()] == ["monday.anmok"]
    (target / INDEX).write_bytes((path / INDEX).read_bytes())  # the original's index is not the copy's
    copy.close()
    assert "index cannot be used" in opened(target).check().problems[0]


def test_backup_never_replaces_anything(store, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="is there already; a backup never replaces anything"):
        store.backup(tmp_path / "there")


def test_backup_that_fails_leaves_nothing(store, fill, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anmok.store.repair.sync_file", full)
    with pytest.raises(StoreError, match=r"the backup .* cannot be written"):
        store.backup(tmp_path / "copy.anmok")
    assert [file.name for file in tmp_path.iterdir()] == ["pictures.anmok"]


def test_backup_inside_a_transaction_is_refused(store, fill, tmp_path):
    with store.transaction():
        fill(store, 3)
        with pytest.raises(StoreError, match="cannot be copied inside a transaction"):
            store.backup(tmp_path / "copy.anmok")
    assert not (tmp_path / "copy.anmok").exists()
