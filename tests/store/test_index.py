import logging
import os
import shutil

import numpy as np
import pytest

from anmok.errors import StoreError
from anmok.store import StoreLimits, searcher, table
from anmok.store import index as index_file
from anmok.store.index import CHECKED, INDEX


def keys(matches):
    return [[match.key for match in some] for some in matches]


def answers_are_right(store, queries, top=5, **options):
    assert keys(store.search(queries, top, **options)) == keys(store.search(queries, top, exact=True, **options))


@pytest.fixture
def indexed(store, fill):
    """A store of 200 rows with an index file."""
    fill(store, 200)
    store.refresh_index()
    assert (store.path / INDEX).exists()
    return store


def clustered(count, dimension, seed=0):
    random = np.random.default_rng(seed)
    centers = random.normal(size=(40, dimension))
    rows = centers[random.integers(0, 40, count)] + 0.6 * random.normal(size=(count, dimension))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_recall_on_clustered_vectors(opened):
    store = opened(dimension=32)
    rows = clustered(2000, 32)
    store.upsert([str(number) for number in range(2000)], rows)
    queries = clustered(50, 32, seed=1)
    assert store.recall(queries, 10) >= 0.95
    assert store.stats().indexed == 2000
    truth = keys(store.search(queries, 10, exact=True))
    found = keys(store.search(queries, 10))
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(truth, found, strict=True)])
    assert shared >= 0.95
    for query, some in zip(queries, store.search(queries, 10), strict=True):  # scored by the database's vectors
        for item, match in zip(store.get([match.key for match in some]), some, strict=True):
            assert match.score == pytest.approx(float(item.vector @ query), abs=1e-6)


def test_recall_tells_when_the_index_is_poor(indexed, vectors, monkeypatch):
    assert indexed.recall(vectors(20, seed=5), 5) == 1.0
    half = index_file.VectorIndex.search

    def worse(self, queries, count):
        found = half(self, queries, count)
        found[:, ::2] = 0
        return found

    monkeypatch.setattr(index_file.VectorIndex, "search", worse)
    assert 0.1 < indexed.recall(vectors(20, seed=5), 5) < 0.9


def test_exact_and_index_agree_to_the_last_bit(indexed, vectors):
    queries = vectors(20, seed=3)
    assert indexed.search(queries, 3) == indexed.search(queries, 3, exact=True)


def test_small_changes_do_not_rewrite_the_index(indexed, fill, vectors):
    file = indexed.path / INDEX
    before = file.stat().st_ino, file.stat().st_mtime_ns
    new = fill(indexed, 10, first=200)
    assert keys(indexed.search(new, 1)) == [[f"k{number}"] for number in range(200, 210)]
    indexed.delete([f"k{number}" for number in range(0, 10)])
    indexed.upsert(["k20"], vectors(1, seed=99))  # the index still has the old vector
    assert indexed.search(vectors(1, seed=99), 1)[0][0].key == "k20"
    answers_are_right(indexed, vectors(200), top=3)
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == before
    assert indexed.stats().newer == 11
    assert indexed.check().index == "behind"


def test_index_is_extended_when_the_tail_has_grown(indexed, fill, vectors, caplog):
    with caplog.at_level(logging.INFO, "anmok.store"):
        fill(indexed, 40, first=200)
        assert "index" not in caplog.text
        answers_are_right(indexed, vectors(20, seed=4))
    assert "extending the index" in caplog.text
    assert indexed.stats().newer == 0
    assert indexed.stats().indexed == 240
    assert indexed.check().problems == ()


def test_index_is_built_anew_when_most_of_it_is_deleted(indexed, fill, vectors, caplog):
    indexed.delete([f"k{number}" for number in range(80)])
    fill(indexed, 40, first=200)
    with caplog.at_level(logging.INFO, "anmok.store"):
        answers_are_right(indexed, vectors(20, seed=4))
    assert "building the index" in caplog.text
    assert indexed.stats().indexed == 160


def test_rows_of_a_bulk_write_are_indexed_on_the_way(store, fill):
    fill(store, 90)
    assert store.stats().indexed == 0
    fill(store, 40, first=90)
    assert store.stats().indexed == 130
    fill(store, 40, first=130)
    assert store.stats().indexed == 130
    fill(store, 140, first=170)
    assert store.stats().indexed == 310


def damage(kind, file, other):
    content = file.read_bytes()
    match kind:
        case "deleted":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "stamp cut":
            file.write_bytes(content[:-9])
        case "garbage":
            file.write_bytes(np.random.default_rng(0).bytes(len(content)))
        case "flipped byte":
            middle = len(content) // 2
            file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        case "flipped stamp":
            place = content.rindex(b'"last_id": ') + 11
            file.write_bytes(content[:place] + b"9" + content[place + 1 :])
        case "of another store":
            shutil.copyfile(other, file)
        case "a folder":
            file.unlink()
            file.mkdir()


DAMAGES = {
    "deleted": "building the index",
    "empty": "it is cut or not an index",
    "cut": "it is cut or not an index",
    "stamp cut": "it is cut or not an index",
    "garbage": "it is cut or not an index",
    "flipped byte": "its content is damaged (wrong checksum)",
    "flipped stamp": "its stamp is damaged",
    "of another store": "it belongs to another store",
}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("while_open", [True, False])
def test_damaged_index_is_rebuilt_and_said(opened, indexed, fill, vectors, caplog, kind, while_open):
    queries = vectors(10, seed=7)
    expected = indexed.search(queries, 5)
    other = opened(indexed.path.with_name("other.anmok"))
    fill(other, 200, seed=50)
    other.refresh_index()
    if not while_open:
        indexed.close()
    damage(kind, indexed.path / INDEX, other.path / INDEX)
    store = indexed if while_open else opened()
    with caplog.at_level(logging.INFO, "anmok.store"):
        assert store.search(queries, 5) == expected
    assert DAMAGES[kind] in caplog.text
    assert store.stats().indexed == 200
    assert store.check().problems == ()


@pytest.mark.parametrize("kind", DAMAGES)
def test_read_only_store_compares_all_rows_instead(opened, indexed, vectors, caplog, kind):
    queries = vectors(10, seed=7)
    expected = indexed.search(queries, 5)
    indexed.close()
    file = indexed.path / INDEX
    other = file.with_name("other")
    other.write_bytes(b"x" * 5000)
    damage(kind, file, other)
    before = file.read_bytes() if file.exists() else None
    reader = opened(readonly=True)
    for _ in range(3):
        assert reader.search(queries, 5) == expected
    assert caplog.text.count("no usable index") == 1
    assert (file.read_bytes() if file.exists() else None) == before
    with pytest.raises(StoreError, match="while reading only"):
        reader.rebuild_index()


def test_index_that_cannot_be_written_is_said_once(indexed, fill, vectors, caplog):
    damage("a folder", indexed.path / INDEX, None)
    for _ in range(3):
        answers_are_right(indexed, vectors(10, seed=7))
    assert caplog.text.count("cannot be written") == 1
    with pytest.raises(StoreError, match=r"index of .* cannot be written"):
        indexed.rebuild_index()
    assert list(indexed.path.glob("*.tmp")) == []


def test_index_newer_than_a_restored_database_is_not_used(opened, indexed, fill, vectors, path, caplog):
    indexed.close()
    shutil.copyfile(path / "store.sqlite", path.with_name("old"))
    later = opened()
    fill(later, 60, first=200)
    later.rebuild_index()
    later.close()
    shutil.copyfile(path.with_name("old"), path / "store.sqlite")
    restored = opened()
    answers_are_right(restored, vectors(10, seed=7))
    assert "newer than the database" in caplog.text
    assert restored.stats().indexed == 200
    fill(restored, 10, first=300)  # ids that the lost rows had
    assert restored.search(vectors(10, seed=300), 1)[4][0].key == "k304"


def test_reader_takes_the_new_index_of_a_writer(opened, indexed, fill, vectors):
    reader = opened(readonly=True)
    reader.search(vectors(1), 1)
    assert reader.stats().indexed == 200
    fill(indexed, 100, first=200)
    indexed.rebuild_index()
    assert reader.search(vectors(1, seed=200), 1)[0][0].key == "k200"
    assert reader.stats().indexed == 300


@pytest.mark.parametrize("where", [{"folder": "a"}, {"n": {"lt": 5}}, {"n": {"ge": 30}}, {"n": -1}])
@pytest.mark.parametrize(
    "limits", [StoreLimits(exact_rows=20, block_rows=16), StoreLimits(exact_rows=20, cache_bytes=0)]
)
def test_filtered_search_returns_all_there_is(opened, fill, vectors, where, limits):
    store = opened(limits=limits)
    fill(store, 200)
    store.refresh_index()
    fill(store, 10, first=200)
    store.delete(["k1", "k4", "k50"])
    allowed = store.count(where)
    for top in (1, 10, 300):
        answers_are_right(store, vectors(5, seed=8), top, where=where)
        assert {len(some) for some in store.search(vectors(5, seed=8), top, where=where)} == {min(top, allowed)}


def test_filter_far_from_the_query_still_fills_the_results(store, vectors, monkeypatch):
    monkeypatch.setattr(searcher, "MOST_FETCH", 100)
    near, far = np.eye(8)[0], -np.eye(8)[0]
    rows = np.concatenate([near + 0.1 * vectors(300), far + 0.1 * vectors(150, seed=1)])
    facts = [{"side": "near"}] * 300 + [{"side": "far"}] * 150
    store.upsert([str(number) for number in range(450)], rows, facts)
    store.refresh_index()
    answers_are_right(store, [near], 20, where={"side": "far"})
    assert len(store.search([near], 20, where={"side": "far"})[0]) == 20
    assert len(store.search([near], 450)[0]) == 450


def test_many_equal_rows_keep_their_order(opened, vectors):
    store = opened()
    store.upsert([str(number) for number in range(500)], np.repeat(vectors(1), 500, axis=0))
    store.refresh_index()
    assert keys(store.search(vectors(1), 5)) == [["0", "1", "2", "3", "4"]]


def test_index_is_not_written_inside_a_transaction(store, fill, vectors):
    with store.transaction():
        fill(store, 200)
        assert store.search(vectors(1), 1)[0][0].key == "k0"
        assert not (store.path / INDEX).exists()
        with pytest.raises(StoreError, match="inside a transaction"):
            store.rebuild_index()
    assert (store.path / INDEX).exists()


def test_index_is_read_whole_only_where_it_may_have_changed(opened, indexed, vectors, monkeypatch):
    file, read = indexed.path / INDEX, []
    whole = index_file._checksum
    monkeypatch.setattr(index_file, "_checksum", lambda *given: read.append(1) or whole(*given))

    def reads(**options):
        read.clear()
        with opened(**options) as store:
            assert store.search(vectors(1), 1)[0][0].key == "k0"
        return len(read)

    indexed.close()
    assert reads() == 0  # it was right when it was written
    file.touch()
    assert reads(readonly=True) == 1
    assert reads(readonly=True) == 1  # who only reads leaves no note
    assert reads() == 1
    assert reads() == reads(readonly=True) == 0
    (indexed.path / CHECKED).write_text("{")
    assert reads() == 1
    (indexed.path / CHECKED).unlink()
    assert reads() == 1


def test_check_reads_the_index_whole_whatever_is_known_of_it(opened, indexed):
    indexed.close()
    file = indexed.path / INDEX
    state, content = file.stat(), file.read_bytes()
    with file.open("r+b") as opened_file:  # as a disk that forgets a bit: no date tells of it
        opened_file.seek(500)
        opened_file.write(bytes([content[500] ^ 1]))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    store = opened()
    assert any("wrong checksum" in problem for problem in store.check().problems)
    store.compact()
    assert store.check().problems == ()


def test_answer_of_a_filter_is_kept_until_a_row_changes(indexed, vectors, fill, monkeypatch):
    asked = []
    ids = table.ids
    monkeypatch.setattr(table, "ids", lambda *given: asked.append(1) or ids(*given))
    queries, where = vectors(2, seed=9), {"folder": "a"}
    first = indexed.search(queries, 300, where=where)
    assert indexed.search(queries, 300, where=where) == first
    assert len(asked) == 1
    fill(indexed, 2, first=200)
    assert {m.key for m in indexed.search(queries, 300, where=where)[0]} == {m.key for m in first[0]} | {"k200"}
    with pytest.raises(KeyError), indexed.transaction():
        indexed.delete(["k0"])
        assert "k0" not in {m.key for m in indexed.search(queries, 300, where=where)[0]}
        raise KeyError
    assert "k0" in {m.key for m in indexed.search(queries, 300, where=where)[0]}
    for number in range(20):  # bounded
        indexed.search(queries, 1, where={"n": number})
    assert len(indexed._searcher._filtered[1]) <= searcher.FILTERS_KEPT
