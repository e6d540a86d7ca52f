import logging
import threading

import pytest

from anmok.store import Store, keeper
from anmok.store.index import INDEX, GrowingGraph

BUILD_AND_WAIT = """
import sys
import numpy as np
from anmok.store import Store, StoreLimits, keeper
keeper.SAVED_EVERY = 64
put = keeper.IndexKeeper._put_in_place
def put_and_wait(self, graph, stamp):
    put(self, graph, stamp)
    print(graph.rows, flush=True)
    sys.stdin.readline()
keeper.IndexKeeper._put_in_place = put_and_wait
Store.open(sys.argv[1], limits=StoreLimits(exact_rows=100, block_rows=32)).refresh_index()
"""


@pytest.fixture
def large(path, fill):
    """A store that should have an index, written by one that needed none; closed. Returns its vectors."""
    with Store.open(path, dimension=8, create=True) as store:
        return fill(store, 300)


@pytest.fixture
def held(monkeypatch):
    """Building stops before its second block until `go` is set; `there` tells that it has come so far."""
    there, go = threading.Event(), threading.Event()
    add = GrowingGraph.add

    def wait_and_add(self, ids, rows):
        if self.rows:
            there.set()
            assert go.wait(20)
        add(self, ids, rows)

    monkeypatch.setattr(GrowingGraph, "add", wait_and_add)
    return there, go


@pytest.fixture
def begun(held):
    """`begun(build)`: a thread that has built the first block."""

    def start(build):
        builder = threading.Thread(target=build)
        builder.start()
        assert held[0].wait(20)
        return builder

    return start


def test_others_read_and_write_while_a_thread_builds(large, opened, held, begun, vectors):
    _, go = held
    store = opened()
    builder = begun(store.refresh_index)
    assert [m[0].key for m in store.search(large[:300:50], 1)] == [f"k{n}" for n in range(0, 300, 50)]
    new = vectors(2, seed=77)
    store.upsert(["new", "k3"], new)
    store.delete(["k280"])
    assert [m[0].key for m in store.search(new, 1)] == ["new", "k3"]
    assert store.stats().indexed == 0
    go.set()
    builder.join(20)
    assert store.stats().indexed == 299  # k3 was read before it changed, k280 was gone when its turn came
    assert store.stats().newer == 2
    assert [m[0].key for m in store.search(new, 1)] == ["new", "k3"]
    assert store.search(large[280:281], 1)[0][0].key != "k280"
    assert store.check().problems == ()


def test_old_index_serves_while_a_new_one_is_built(large, opened, held, begun, monkeypatch):
    there, go = held
    monkeypatch.setattr(keeper, "SAVED_EVERY", 64)
    store = opened()
    go.set()
    store.refresh_index()
    there.clear()
    go.clear()
    before = (store.path / INDEX).stat().st_ino
    builder = begun(store.rebuild_index)
    assert store.stats().indexed == 300
    assert store.search(large[5:6], 1)[0][0].key == "k5"
    assert (store.path / INDEX).stat().st_ino == before
    go.set()
    builder.join(20)
    assert (store.path / INDEX).stat().st_ino != before
    assert store.check().problems == ()


def test_building_goes_on_where_it_was_killed(large, opened, path, child, caplog):
    process = child(BUILD_AND_WAIT, path)
    assert process.stdout.readline() == "64\n"
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "128\n"
    process.kill()
    process.wait()
    store = opened()
    assert (store.stats().indexed, store.stats().newer) == (128, 172)
    assert [m[0].key for m in store.search(large[:2], 1, exact=True)] == ["k0", "k1"]
    with caplog.at_level(logging.INFO, "anmok.store"):
        store.refresh_index()
    assert "extending the index" in caplog.text
    assert store.stats().indexed == 300
    assert store.recall(large, 3) == pytest.approx(1, abs=0.02)
    assert store.check().problems == ()


def test_two_threads_that_want_an_index_build_one(large, opened, held, caplog):
    there, go = held
    caplog.set_level(logging.INFO, "anmok.store")
    store = opened()
    threads = [threading.Thread(target=store.refresh_index) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert there.wait(20)
    go.set()
    for thread in threads:
        thread.join(20)
    assert store.stats().indexed == 300
    assert caplog.text.count("the index") == 1


def test_inside_a_transaction_nobody_waits_for_a_builder(large, opened, held, begun, vectors):
    _, go = held
    store = opened()
    builder = begun(store.refresh_index)
    with store.transaction():
        go.set()  # the builder now wants the database, which the transaction has
        store.refresh_index()
        store.upsert(["new"], vectors(1, seed=5))
        assert store.search(vectors(1, seed=5), 1)[0][0].key == "new"
    builder.join(20)
    assert not builder.is_alive()
    assert store.stats().indexed == 300
