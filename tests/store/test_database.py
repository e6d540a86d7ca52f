import contextlib
import multiprocessing
import os
import sqlite3
import sys

import numpy as np
import pytest

from anmok.errors import StoreDamaged, StoreError, StoreFull, StoreTooNew
from anmok.store import Store, StoreLimits, database
from anmok.store.database import APPLICATION_ID, DATABASE, PAGE_BYTES


def raw(path, *statements):
    """Run statements on the file behind the store's back; returns the rows of the last."""
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection:
        rows = [connection.execute(statement).fetchall() for statement in statements][-1]
        connection.commit()
        return rows


def test_every_commit_is_synced_by_the_settings(store):
    assert store._database.execute("PRAGMA journal_mode") == [("wal",)]
    assert store._database.execute("PRAGMA synchronous") == [(2,)]  # FULL
    assert store._database.execute("PRAGMA fullfsync") == [(1,)]


def test_file_says_what_it_is(store, path):
    store.close()
    assert raw(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert raw(path, "PRAGMA user_version") == [(len(database.MIGRATIONS),)]


def test_vectors_are_half_precision(store, path, vectors):
    row = vectors(1)
    store.upsert(["x"], row)
    store.close()
    assert raw(path, "SELECT vector FROM vectors") == [(row[0].astype("<f2").tobytes(),)]


def test_missing_store_is_not_made_by_chance(opened, path):
    with pytest.raises(StoreError, match=r"there is no store at .*create=True"):
        opened(create=False)
    with pytest.raises(StoreError, match="there is no store at"):
        opened(readonly=True)
    with pytest.raises(StoreError, match="there is no store at"):
        Store.open(path, create=True, readonly=True, dimension=8)
    assert not path.exists()


@pytest.mark.parametrize("dimension", [None, 0, -3])
def test_new_store_needs_a_dimension(opened, path, dimension):
    with pytest.raises(StoreError, match=f"1 or more, not {dimension}"):
        opened(dimension=dimension)
    assert not path.exists()


def test_other_dimension_is_refused(opened, store):
    with pytest.raises(StoreError, match="holds vectors of 8 dimensions, not 9"):
        opened(dimension=9)


def test_folder_with_other_files_is_left_alone(opened, path, tmp_path):
    path.mkdir()
    (path / "photo.jpg").touch()
    with pytest.raises(StoreError, match="is not empty and not a store"):
        opened()
    assert [file.name for file in path.iterdir()] == ["photo.jpg"]
    (tmp_path / "file.anmok").touch()
    with pytest.raises(StoreError, match="not a store"):
        opened(tmp_path / "file.anmok")


def test_lost_database_is_not_replaced_by_an_empty_one(opened, store, fill, path):
    fill(store, 150)
    store.close()
    (path / DATABASE).unlink()
    with pytest.raises(StoreDamaged, match=r"has lost its store.sqlite: restore the last backup"):
        opened()


def test_half_made_store_is_made_again(opened, path):
    path.mkdir()
    (path / f"{DATABASE}.0123.tmp").write_bytes(b"half")  # killed while creating
    assert len(opened()) == 0


def test_two_creators_get_one_store(opened, path, monkeypatch, vectors):
    create = database.create_database

    def too_late(at, meta):
        monkeypatch.undo()
        first = opened()
        first.upsert(["first"], vectors(1))
        assert create(at, meta) is False
        return False

    monkeypatch.setattr("anmok.store.store.create_database", too_late)
    assert opened().keys() == ["first"]
    assert list(path.glob("*.tmp")) == []


def test_creation_without_hard_links(opened, path, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    assert len(opened()) == 0
    assert list(path.glob("*.tmp")) == []


@pytest.mark.parametrize("content", [b"", b"not a database, " * 400, b"SQLite format 3\0" + bytes(5000)])
@pytest.mark.parametrize("readonly", [True, False])
def test_file_that_is_no_database_is_reported_with_the_way_out(opened, store, path, content, readonly):
    store.close()
    (path / DATABASE).write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"(?s)store.sqlite.*last backup.*anmok store recover"):
        opened(readonly=readonly)
    assert (path / DATABASE).read_bytes() == content


def test_database_of_something_else_is_refused(opened, path):
    path.mkdir()
    raw(path, "CREATE TABLE notes (text)")
    with pytest.raises(StoreDamaged, match="is not the database of a store"):
        opened()
    assert raw(path, "SELECT count(*) FROM notes") == [(0,)]


def test_store_without_its_description_is_damaged(opened, store, path):
    store.close()
    raw(path, "DELETE FROM meta WHERE name = 'dimension'")
    with pytest.raises(StoreDamaged, match="has lost what describes it"):
        opened()


def test_damage_met_later_is_reported_too(opened, store, fill, path):
    fill(store, 2000)
    store.close()
    content = bytearray((path / DATABASE).read_bytes())
    for page in range(PAGE_BYTES * 5, len(content), PAGE_BYTES):
        content[page : page + 100] = bytes(100)
    (path / DATABASE).write_bytes(content)
    damaged = opened()
    with pytest.raises(StoreDamaged, match=r"is damaged .*malformed.*anmok store recover"):
        list(damaged.scan())


def test_vector_of_another_size_is_damage(opened, store, fill, path):
    fill(store, 3)
    store.close()
    raw(path, "UPDATE vectors SET vector = x'00' WHERE id = 2")
    with pytest.raises(StoreDamaged, match="holds a vector that is not of 8 dimensions"):
        opened().search(np.ones((1, 8)), 1)


@pytest.mark.parametrize("table", ["items", "vectors"])
def test_halves_of_a_row_are_damage(opened, store, fill, path, table):
    fill(store, 3)
    store.close()
    raw(path, f"DELETE FROM {table} WHERE id = 2")
    with pytest.raises(StoreDamaged, match="rows without a vector, or vectors without a row"):
        opened().search(np.ones((1, 8)), 1)


def test_store_of_a_newer_version_is_refused(opened, store, path):
    store.close()
    raw(path, "PRAGMA user_version = 99")
    for readonly in (True, False):
        with pytest.raises(StoreTooNew, match=r"has format 99, this anmok knows up to \d+: update anmok"):
            opened(readonly=readonly)


@pytest.fixture
def newer_schema(monkeypatch):
    """The next version of anmok, which has one table more and fills it."""
    step = ("CREATE TABLE notes (text)", "INSERT INTO notes SELECT key FROM items")
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, step))
    return len(database.MIGRATIONS)


def test_older_store_is_migrated(opened, store, fill, path, request):
    rows = fill(store, 5)
    store.close()
    version = request.getfixturevalue("newer_schema")
    with pytest.raises(StoreError, match=r"older format 1 .*open it once with readonly=False"):
        opened(readonly=True)
    for _ in range(2):
        migrated = opened()
        assert migrated.search(rows[3:4], 1)[0][0].key == "k3"
        assert migrated.check().ok
        migrated.close()
    assert raw(path, "PRAGMA user_version") == [(version,)]
    assert raw(path, "SELECT count(*) FROM notes") == [(5,)]
    assert len(opened(readonly=True)) == 5


def test_failed_migration_leaves_the_store_as_it_was(opened, store, fill, path, monkeypatch):
    fill(store, 5)
    store.close()
    steps = ("CREATE TABLE notes (text)", "INSERT INTO nowhere VALUES (1)")
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, steps))
        with pytest.raises(StoreError, match="no such table: nowhere"):
            opened()
    assert raw(path, "PRAGMA user_version") == [(1,)]
    assert len(opened()) == 5


def test_first_version_can_still_be_opened(opened, path):
    """The format as it was first released, written out: never change this test, add one for the next version."""
    path.mkdir()
    raw(
        path,
        "PRAGMA application_id = 1634626923",
        "PRAGMA user_version = 1",
        "CREATE TABLE meta (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, value)",
        "CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB NOT NULL UNIQUE, metadata TEXT NOT NULL"
        " CHECK (json_valid(metadata)))",
        "CREATE TABLE vectors (id INTEGER PRIMARY KEY, vector BLOB NOT NULL)",
        "CREATE TABLE documents (id INTEGER PRIMARY KEY, name TEXT NOT NULL, key BLOB NOT NULL, value TEXT NOT NULL,"
        " UNIQUE (name, key))",
        "INSERT INTO meta (name, value) VALUES ('generation', 1), ('id', 'x'), ('dimension', 2),"
        """ ('contract', '{"fingerprint":"aa"}')""",
        """INSERT INTO items (id, key, metadata) VALUES (1, x'EAB080', '{"n":1}')""",
        "INSERT INTO vectors (id, vector) VALUES (1, x'0000003C')",
        "INSERT INTO documents (name, key, value) VALUES ('files', x'61', '7')",
    )
    first = opened(dimension=2, contract={"fingerprint": "aa"})
    match = first.search([[0, 1]], 1)[0][0]
    assert (match.key, match.score, match.metadata) == ("가", 1.0, {"n": 1})
    assert dict(first.documents("files")) == {"a": 7}
    assert first.check().ok


def test_read_only_store_is_never_written(opened, store, fill, vectors):
    fill(store, 5)
    reader = opened(readonly=True)
    for change in (
        lambda: reader.upsert(["x"], vectors(1)),
        lambda: reader.delete(["k1"]),
        lambda: reader.compact(),
    ):
        with pytest.raises(StoreError, match=r"read(ing)? only"):
            change()
    assert len(reader) == 5


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_store_on_a_read_only_disk(opened, store, fill, path):
    _read_on_a_read_only_disk(opened, store, fill, path)


def test_store_on_a_disk_that_seems_read_only(opened, store, fill, path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    _read_on_a_read_only_disk(opened, store, fill, path)


def _read_on_a_read_only_disk(opened, store, fill, path):
    fill(store, 5)
    store.close()
    path.chmod(0o500)
    try:
        reader = opened(readonly=True)
        assert len(reader) == 5
        reader.close()
        assert [file.name for file in path.iterdir()] == [DATABASE]
    finally:
        path.chmod(0o700)


def test_full_disk_keeps_what_was_there(opened, store, fill, vectors):
    fill(store, 5)
    pages = store._database.execute("PRAGMA page_count")[0][0]
    store._database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreFull, match=r"the disk is full. Nothing of this change was kept"):
        fill(store, 5000, first=5)
    assert len(store) == 5
    store._database.execute("PRAGMA max_page_count = 1000000")
    fill(store, 5, first=5)
    assert len(store) == 10
    assert store.check().ok


def test_unclosed_store_closes_itself(path, vectors):
    store = Store.open(path, dimension=8, create=True, limits=StoreLimits())
    store.upsert(["x"], vectors(1))
    del store
    assert [file.name for file in path.iterdir()] == [DATABASE]  # no log left: the connection was closed


def _try_in_fork(store, answers):
    try:
        len(store)
    except StoreError as error:
        answers.put(str(error))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks by default")
def test_forked_process_may_not_use_the_store(store):
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_try_in_fork, args=(store, answers))
    process.start()
    process.join()
    assert "was opened in another process" in answers.get()
    assert len(store) == 0
