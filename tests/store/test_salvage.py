import contextlib
import functools
import random
import shutil
import sqlite3

import numpy as np
import pytest

from anmok.errors import StoreDamaged, StoreError
from anmok.store import Store, recover
from anmok.store.database import DATABASE, PAGE_BYTES, create_database

CONTRACT = {"fingerprint": "aaaa"}


@pytest.fixture
def page_bytes():
    return PAGE_BYTES


@pytest.fixture
def rows(opened, fill, path, page_bytes, monkeypatch):
    """A closed store of 2000 rows and some documents; returns its vectors."""
    create = functools.partial(create_database, page_bytes=page_bytes)
    monkeypatch.setattr("anmok.store.store.create_database", create)
    store = opened(contract=CONTRACT)
    written = fill(store, 2000)
    store.documents("files").update({f"f{number}": number for number in range(300)})
    store.close()
    return written


def damage(path, change):
    content = bytearray((path / DATABASE).read_bytes())
    changed = change(content)
    content = content if changed is None else changed
    (path / DATABASE).write_bytes(content)
    return bytes(content)


def require_sound(opened, path, report, rows):
    store = opened(path)
    assert report.path == path
    assert len(store) == report.rows
    for keys, vectors, metadata in store.scan():
        numbers = [int(key[1:]) for key in keys]
        assert [facts["n"] for facts in metadata] == numbers
        np.testing.assert_allclose(vectors, rows[numbers], atol=1e-3)
    for key, value in store.documents("files").items():
        assert key == f"f{value}"
    assert len(store.documents("files")) == report.documents
    assert store.check().problems == ()
    store.upsert(["new"], np.ones((1, 8)))
    assert store.search(np.ones((1, 8)), 1)[0][0].key == "new"
    return store


def test_rows_around_damaged_pages_are_saved(opened, rows, path):
    chance = random.Random(3)

    def destroy(content):
        for page in chance.sample(range(8, len(content) // PAGE_BYTES), 2):
            content[page * PAGE_BYTES : page * PAGE_BYTES + 300] = chance.randbytes(300)

    damaged = damage(path, destroy)
    with pytest.raises(StoreDamaged), contextlib.closing(Store.open(path)) as broken:
        list(broken.scan())
        broken.keys()
        dict(broken.documents("files").items())
        raise StoreDamaged
    report = recover(path)
    assert 1000 < report.rows < 2000 or report.documents < 300
    assert not report.contract_lost
    assert report.damaged.parent == path.parent
    assert (report.damaged / DATABASE).read_bytes() == damaged
    assert require_sound(opened, path, report, rows).contract == CONTRACT
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, report.damaged.name]


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("page_bytes", [PAGE_BYTES, 4096], ids=["now", "first-made"])
@pytest.mark.parametrize("size", [16, 100, None], ids=["magic", "header", "page"])
def test_lost_first_page_costs_no_row(opened, rows, path, compacted, size, page_bytes):
    if compacted:
        store = opened()
        store.compact()
        store.close()

    def destroy(content):
        assert int.from_bytes(content[16:18]) == page_bytes
        content[: size or page_bytes] = b"\xff" * (size or page_bytes)

    damage(path, destroy)
    with pytest.raises(StoreDamaged, match="anmok store recover"):
        Store.open(path)
    report = Store.recover(path)
    assert (report.rows, report.incomplete, report.documents) == (2000, 0, 300)
    assert not report.contract_lost
    require_sound(opened, path, report, rows)


def test_cut_file_gives_what_was_before_the_cut(opened, rows, path):
    damage(path, lambda content: content[: len(content) * 3 // 4 + 77])
    report = recover(path)
    assert report.rows + report.incomplete > 500
    require_sound(opened, path, report, rows)


def test_rows_that_are_still_in_the_log_are_saved(opened, rows, path, fill, tmp_path):
    live = opened()
    live.upsert(["k2000"], rows[:1], [{"n": 0}])
    copy = tmp_path / "copy.anmok"
    copy.mkdir()
    for name in (DATABASE, f"{DATABASE}-wal"):
        shutil.copyfile(path / name, copy / name)
    report = recover(copy)
    assert report.rows == 2001
    assert "k2000" in opened(copy)


def test_lost_description_is_inferred_or_given(opened, rows, path):
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection:
        connection.execute("DELETE FROM meta")
        connection.commit()
    shutil.copytree(path, path.with_name("second.anmok"))
    report = recover(path)
    assert report.contract_lost
    assert require_sound(opened, path, report, rows).contract == {}
    report = recover(path.with_name("second.anmok"), contract=CONTRACT)
    assert not report.contract_lost
    assert require_sound(opened, report.path, report, rows).contract == CONTRACT


def test_unsound_rows_are_left_out(opened, rows, path):
    with contextlib.closing(sqlite3.connect(path / DATABASE)) as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(16) WHERE id = 1")
        connection.execute("UPDATE vectors SET vector = x'00' WHERE id = 2")
        connection.execute("DELETE FROM vectors WHERE id = 3")
        connection.execute("UPDATE items SET key = x'FF' WHERE id = 4")
        connection.execute("UPDATE documents SET value = '{' WHERE id = 5")
        connection.commit()
    report = recover(path)
    assert (report.rows, report.incomplete, report.documents) == (1996, 4, 299)
    require_sound(opened, path, report, rows)


@pytest.mark.parametrize("content", [b"", b"x" * 100_000])
def test_nothing_readable_is_said_and_left_alone(rows, path, content):
    damage(path, lambda _: content)
    with pytest.raises(StoreError, match=r"nothing can be read .* restore the last backup"):
        recover(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert (path / DATABASE).read_bytes() == content


def test_nothing_to_recover_from(tmp_path):
    with pytest.raises(StoreError, match=r"there is no store.sqlite in .*nothing can be recovered"):
        recover(tmp_path)


def test_sound_store_is_recovered_whole(opened, rows, path):
    report = recover(path)
    again = recover(path)
    assert report.rows == again.rows == 2000
    assert report.damaged != again.damaged
    require_sound(opened, path, again, rows)
