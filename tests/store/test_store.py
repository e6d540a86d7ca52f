import logging
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from anmok import progress
from anmok.errors import FingerprintMismatch, QueryError, StoreError
from anmok.store import Pair, Store, StoreLimits

STRANGE = [
    "",
    " ",
    "'",
    '"',
    "\\",
    "%_",
    "a\nb",
    "nul\0key",
    "한글/빨간 가방.jpg",
    "e\u0301",
    "\u00e9",
    "🎒",
    "\udc80.jpg",
    "x" * 9000,
]


def reference(rows, query, top):
    """Indices of the best rows by plain NumPy, on what the store keeps: half precision, unit length."""
    kept = rows.astype(np.float32).astype(np.float16).astype(np.float64)
    scores = np.round(kept @ query / np.linalg.norm(kept, axis=1) / np.linalg.norm(query), 9)  # ties are ties
    return np.argsort(-scores, kind="stable")[:top], scores


def test_rows_come_back_after_reopening(opened, store, fill, path):
    rows = fill(store, 5)
    store.close()
    again = opened(create=False)
    assert len(again) == 5
    item = again.get(["k3"])[0]
    assert item.key == "k3"
    assert item.metadata == {"n": 3, "folder": "b"}
    assert item.vector.dtype == np.float32
    np.testing.assert_allclose(item.vector, rows[3], atol=1e-3)
    assert np.linalg.norm(item.vector) == pytest.approx(1, abs=1e-6)
    assert sorted(file.name for file in path.iterdir() if "-" not in file.name) == ["store.sqlite"]


def test_strange_keys_are_kept_apart(store, vectors):
    rows = vectors(len(STRANGE))
    store.upsert(STRANGE, rows, [{"key": key} for key in STRANGE])
    assert store.keys() == STRANGE
    assert [item.metadata["key"] for item in store.get(STRANGE)] == STRANGE
    assert all(key in store for key in STRANGE)
    assert [matches[0].key for matches in store.search(rows, 1)] == STRANGE
    assert store.delete(STRANGE[2:]) == len(STRANGE) - 2
    assert store.keys() == STRANGE[:2]


def test_upsert_replaces_vector_and_metadata(store, vectors):
    a, b = vectors(2)
    store.upsert(["x"], [a], [{"v": 1}])
    store.upsert(["x"], [b], [{"v": 2}])
    assert len(store) == 1
    assert store.search([b], 1)[0][0].score == pytest.approx(1, abs=1e-5)
    assert store.get(["x", "y"])[0].metadata == {"v": 2}
    assert store.get(["x", "y"])[1] is None


def test_numbers_of_rows_stay_and_are_never_given_again(store, fill, vectors):
    rows = fill(store, 4)
    before = store.ids(["k0", "k1", "k2", "k3", "nobody"])
    assert before[4] is None
    assert len({*before}) == 5
    store.upsert(["k0"], rows[:1], [{"other": "metadata"}])
    store.upsert(["k1"], vectors(9)[8:], [{}])
    store.delete(["k3"])
    store.upsert(["k4"], rows[3:], [{}])
    store.compact()
    k0, k1, k2, k3, k4 = store.ids(["k0", "k1", "k2", "k3", "k4"])
    assert (k0, k2, k3) == (before[0], before[2], None)
    assert not {k1, k4} & {*before}
    assert store.keys_of([k4, before[3], k0, k0]) == ["k4", None, "k0", "k0"]
    assert store.keys_of([0, -1, 2**63, 10**30]) == [None] * 4
    assert store.keys_of([]) == []


@given(keys=st.lists(st.sampled_from([*STRANGE, "not there"]), max_size=20))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_lead_back_to_their_keys(store, vectors, keys):
    store.upsert(STRANGE, vectors(len(STRANGE)))
    numbers = store.ids(keys)
    assert store.keys_of([number or 0 for number in numbers]) == [key if key in STRANGE else None for key in keys]


def test_key_given_twice_keeps_its_last_row(store, vectors):
    a, b = vectors(2)
    store.upsert(["x", "x"], [a, b], [{"v": 1}, {"v": 2}])
    assert store.get(["x"])[0].metadata == {"v": 2}
    assert len(store) == 1


def test_generation_counts_commits_that_changed_something(store, vectors):
    before = store.generation
    store.upsert(["x"], vectors(1), [{"v": 1}])
    store.upsert(["x"], vectors(1), [{"v": 1}])  # the same: nothing is written
    assert store.generation == before + 1
    store.delete(["nobody"])
    assert store.generation == before + 1
    store.upsert(["x"], vectors(1), [{"v": 2}])
    store.delete(["x"])
    assert store.generation == before + 3


@pytest.mark.parametrize(
    ("keys", "rows", "metadata", "message"),
    [
        (["a", "bad"], [[1.0] * 8, [float("nan")] + [0.0] * 7], None, r"the vector of 'bad' is not finite"),
        (["a", "bad"], [[1.0] * 8, [float("inf")] + [0.0] * 7], None, r"the vector of 'bad' is not finite"),
        (["bad"], [[0.0] * 8], None, r"the vector of 'bad' is zero"),
        (["a"], [[1.0] * 7], None, r"shape \[1, 7\], expected \[1, 8\]"),
        (["a"], [1.0] * 8, None, r"shape \[8\], expected \[1, 8\]"),
        (["a", "b"], [[1.0] * 8], None, r"shape \[1, 8\], expected \[2, 8\]"),
        (["a"], [["x"] * 8], None, r"array of numbers"),
        ("a", [[1.0] * 8], None, r"list of texts; for one key write \['a'\]"),
        ([7], [[1.0] * 8], None, r"keys are text, not int"),
        (["a"], [[1.0] * 8], [{}, {}], r"1 keys were given with 2 metadata"),
        (["a"], [[1.0] * 8], [7], r"metadata of 'a' must be a mapping, not int"),
        (["a"], [[1.0] * 8], [{"x": float("nan")}], r"metadata of 'a' cannot be stored as JSON"),
        (["a"], [[1.0] * 8], [{"x": object()}], r"metadata of 'a' cannot be stored as JSON"),
    ],
)
def test_bad_rows_are_refused_whole_and_by_name(store, keys, rows, metadata, message):
    with pytest.raises(StoreError, match=message):
        store.upsert(keys, rows, metadata)
    assert len(store) == 0
    assert store.generation == 0


def test_vectors_of_any_length_are_scaled(store):
    store.upsert(["tiny", "huge"], [[1e-300] + [0] * 7, [0, 1e300] + [1e300] * 6])
    tiny, huge = store.get(["tiny", "huge"])
    np.testing.assert_allclose(tiny.vector, [1] + [0] * 7)
    np.testing.assert_allclose(huge.vector[1:], np.full(7, 7**-0.5), atol=1e-3)
    assert store.search([[3e38] + [0] * 7], 1)[0][0].key == "tiny"


def test_very_large_metadata_is_kept(store, vectors):
    facts = {"text": "가" * 2_000_000, "list": list(range(1000))}
    store.upsert(["x"], vectors(1), [facts])
    assert store.get(["x"])[0].metadata == facts
    assert store.count({"list": {"contains": 999}}) == 1


def test_search_of_nothing(store, vectors):
    assert store.search(vectors(3), 5) == [[], [], []]
    assert store.search(np.empty((0, 8)), 5) == []
    store.upsert([], np.empty((0, 8)))
    assert list(store.scan()) == []
    assert store.recall(vectors(2), 3) == 1.0
    assert list(store.pairs_above(0.5)) == []
    store.rebuild_index()
    assert store.search(vectors(1), 5, exact=False) == [[]]
    assert store.check().ok


def test_search_returns_fewer_where_fewer_are_there(store, fill, vectors):
    fill(store, 3)
    assert len(store.search(vectors(1), 10)[0]) == 3


@pytest.mark.parametrize(
    ("query", "top", "message"),
    [
        ([[1.0] * 7], 1, r"shape \[1, 7\], expected \[1, 8\]"),
        ([[1.0] * 8, [0.0] * 8], 1, "query 1 is zero"),
        ([[float("nan")] * 8], 1, "query 0 is not finite"),
        ([["red"] * 8], 1, "queries must be numbers"),
        ([[1.0] * 8], 0, "top is 0, expected 1 or more"),
    ],
)
def test_bad_queries_are_refused(store, query, top, message):
    with pytest.raises(QueryError, match=message):
        store.search(query, top)


def test_one_query_may_be_a_single_row(store, fill):
    rows = fill(store, 4)
    assert store.search(rows[2], 1) == store.search(rows[2:3], 1)


def test_equal_scores_come_in_the_order_of_storing(store, vectors):
    keys = [f"k{number}" for number in np.random.default_rng(1).permutation(90)]  # over three blocks
    store.upsert(keys, np.repeat(vectors(1), 90, axis=0))
    for exact in (True, False):
        for top in (7, 90):
            assert [match.key for match in store.search(vectors(1), top, exact=exact)[0]] == keys[:top]


@given(
    count=st.integers(1, 120),
    top=st.integers(1, 130),
    seed=st.integers(0, 10**6),
    block_rows=st.sampled_from([1, 7, 32, 8192]),
    cached=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exact_search_equals_numpy(tmp_path_factory, count, top, seed, block_rows, cached):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, 8))
    rows[random.integers(count)] = rows[0]  # a tie
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    queries = random.normal(size=(3, 8))
    limits = StoreLimits(block_rows=block_rows, cache_bytes=1 << 20 if cached else 0)
    with Store.open(tmp_path_factory.mktemp("s") / "s.anmok", dimension=8, create=True, limits=limits) as store:
        store.upsert([str(number) for number in range(count)], rows)
        for query, matches in zip(queries, store.search(queries, top), strict=True):
            places, scores = reference(rows, query, top)
            assert [int(match.key) for match in matches] == places.tolist()
            np.testing.assert_allclose([match.score for match in matches], scores[places], atol=1e-6)


def test_scan_visits_every_row_once(store, fill):
    rows = fill(store, 25)
    keys, vectors, metadata = zip(*store.scan(batch=10), strict=True)
    assert [len(some) for some in keys] == [10, 10, 5]
    assert [key for some in keys for key in some] == store.keys()
    np.testing.assert_allclose(np.concatenate(vectors), rows, atol=1e-3)
    assert metadata[2][4] == {"n": 24, "folder": "a"}
    assert [key for some, _, _ in store.scan({"n": {"lt": 3}}) for key in some] == ["k0", "k1", "k2"]
    with pytest.raises(QueryError, match="batch is 0"):
        store.scan(batch=0)


def test_scan_ends_while_its_rows_are_rewritten(store, fill, vectors):
    fill(store, 20)
    seen = []
    for keys, _, metadata in store.scan(batch=5):
        seen += keys
        store.upsert(keys, vectors(len(keys), seed=len(seen)), metadata)
    assert seen == [f"k{number}" for number in range(20)]


def test_a_page_comes_in_the_order_of_a_field_and_of_those_that_begin_so(store, vectors):
    keys = ["ab", "a", "b", "a%", "ac", "\udc80a"]
    store.upsert(keys, vectors(6), [{"place": place} for place in (3, 1, 2, 1, 0, 5)])
    places = [("ac", 0), ("a", 1), ("a%", 1), ("b", 2), ("ab", 3), ("\udc80a", 5)]
    assert store.page(0, 9, field="place") == (6, [(key, {"place": place}) for key, place in places])
    assert [key for key, _ in store.page(1, 2, prefix="a", field="place")[1]] == ["a", "a%"]
    assert store.page(0, 1, prefix="a", field="place")[0] == 4 and store.page(9, 1, field="place") == (6, [])
    assert [key for key, _ in store.page(0, 9, prefix="\udc80", field="place")[1]] == ["\udc80a"]


def test_transaction_commits_all_or_nothing(store, fill, vectors):
    fill(store, 3)
    documents = store.documents("files")
    with pytest.raises(RuntimeError, match="stop"), store.transaction():
        store.upsert(["new"], vectors(1, seed=9))
        store.delete(["k0"])
        documents["new"] = {"size": 1}
        assert store.search(vectors(1, seed=9), 1)[0][0].key == "new"  # seen inside
        raise RuntimeError("stop")
    assert store.keys() == ["k0", "k1", "k2"]
    assert dict(documents) == {}
    with store.transaction():
        store.upsert(["other"], vectors(1, seed=10))
        documents["other"] = 1
    match = store.search(vectors(1, seed=10), 1)[0][0]
    assert match.key == "other"
    assert match.score == pytest.approx(1, abs=1e-5)  # its own vector, not that of the undone row that had its id
    assert store.search(vectors(1, seed=9), 1)[0][0].key != "new"
    assert store.generation == 2


def test_error_inside_a_transaction_undoes_its_own_step_only(store, vectors):
    with store.transaction():
        store.upsert(["kept"], vectors(1))
        with pytest.raises(StoreError, match="zero"):
            store.upsert(["a", "b"], [[1] * 8, [0] * 8])
        with pytest.raises(RuntimeError, match="stop"), store.transaction():
            store.upsert(["lost"], vectors(1))
            raise RuntimeError("stop")
    assert store.keys() == ["kept"]


def test_threads_share_one_store(store, fill, vectors):
    fill(store, 150)
    errors = []

    def work(number):
        try:
            for step in range(5):
                key = f"t{number}-{step}"
                row = vectors(1, seed=1000 + 10 * number + step)
                store.upsert([key], row)
                assert store.search(row, 1)[0][0].key == key
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(store) == 170


def test_pairs_above_equal_numpy(store, vectors):
    rows = vectors(80)
    rows[40:50] = rows[:10]
    store.upsert([f"k{number}" for number in range(80)], rows)
    scores = reference(rows, rows[0], 1)[1]
    assert scores[40] == pytest.approx(1, abs=1e-6)
    kept = np.stack([item.vector for item in store.get([f"k{number}" for number in range(80)])])
    products = kept @ kept.T
    wanted = {(f"k{i}", f"k{j}") for i in range(80) for j in range(i + 1, 80) if products[i, j] >= 0.7}
    found = list(store.pairs_above(0.7))
    assert {(pair.first, pair.second) for pair in found} == wanted
    assert len(found) == len(wanted) > 10
    assert isinstance(found[0], Pair)


@pytest.mark.parametrize("rows", [90, 110])  # compared one by one, and by the index
def test_whoever_listens_can_end_the_search_for_pairs(store, fill, rows):
    fill(store, rows)
    reports = []

    def hear(report):
        reports.append(report.done)
        if len(reports) == 2:
            raise InterruptedError

    with progress.listen(hear), pytest.raises(InterruptedError):
        list(store.pairs_above(1.0))
    with progress.listen(lambda report: reports.append(report.done)):
        list(store.pairs_above(1.0))
    assert reports[-1] == rows


def test_pairs_above_find_copies_through_the_index(store, fill, vectors):
    rows = fill(store, 150)
    store.upsert(["copy3", "copy7"], rows[[3, 7]])
    assert {frozenset((pair.first, pair.second)) for pair in store.pairs_above(0.9999)} == {
        frozenset(("k3", "copy3")),
        frozenset(("k7", "copy7")),
    }


def test_other_contract_is_refused_naming_both(opened, store):
    store.close()
    at = store.path.with_name("c.anmok")
    opened(at, contract={"fingerprint": "aaaa", "templates": ("x",)}).close()
    assert opened(at, contract={"fingerprint": "aaaa", "templates": ["x"]}).contract["fingerprint"] == "aaaa"
    with pytest.raises(FingerprintMismatch, match=r"fingerprint 'aaaa' here and 'bbbb' there"):
        opened(at, contract={"fingerprint": "bbbb", "templates": ["x"]})
    assert opened(at, contract=None).contract == {"fingerprint": "aaaa", "templates": ["x"]}


def test_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is closed; open it again"):
        len(store)


def test_nothing_is_printed_and_index_work_is_logged(store, fill, capsys, caplog):
    with caplog.at_level(logging.INFO, "anmok.store"):
        fill(store, 150)
    assert "building the index" in caplog.text
    assert capsys.readouterr() == ("", "")


class AgainstADict(RuleBasedStateMachine):
    """Any sequence of operations leaves a store that equals a dict."""

    KEYS = st.sampled_from(["a", "b", "c", "한", "\udc80", "'; DROP TABLE items; --"])
    SEEDS = st.integers(0, 30)

    @initialize(folder=st.just(None))
    def create(self, folder):
        import tempfile

        self.temporary = tempfile.TemporaryDirectory()
        self.open()
        self.model = {}

    def open(self):
        limits = StoreLimits(exact_rows=3, block_rows=2, tail_share=0.3)
        self.store = Store.open(f"{self.temporary.name}/s.anmok", dimension=4, create=True, limits=limits)

    def row(self, seed):
        return np.random.default_rng(seed).normal(size=4)

    @rule(keys=st.lists(KEYS, max_size=4), seed=SEEDS, number=SEEDS)
    def upsert(self, keys, seed, number):
        rows = [self.row(seed + place) for place in range(len(keys))]
        self.store.upsert(keys, np.reshape(rows, (len(keys), 4)), [{"n": number}] * len(keys))
        self.model.update({key: (row, number) for key, row in zip(keys, rows, strict=True)})

    @rule(keys=st.lists(KEYS, max_size=3))
    def delete(self, keys):
        assert self.store.delete(keys) == len(set(keys) & set(self.model))
        for key in keys:
            self.model.pop(key, None)

    @rule(key=KEYS, seed=SEEDS)
    def undone(self, key, seed):
        with pytest.raises(KeyError), self.store.transaction():
            self.store.upsert([key], [self.row(seed)], [{"n": -1}])
            self.store.search([self.row(seed)], 2)
            raise KeyError

    @rule()
    def reopen(self):
        self.store.close()
        self.open()

    @rule()
    def rebuild(self):
        self.store.rebuild_index()

    @rule()
    def compact(self):
        self.store.compact()

    @rule(seed=SEEDS, top=st.integers(1, 6), limit=SEEDS, exact=st.sampled_from([True, False, None]))
    def search(self, seed, top, limit, exact):
        query = self.row(seed + 500)
        for where, allowed in ((None, self.model), ({"n": {"lt": limit}}, self.below(limit))):
            found = self.store.search([query], top, where=where, exact=exact)[0]
            scores = sorted((self.cosine(query, row) for row, _ in allowed.values()), reverse=True)[:top]
            np.testing.assert_allclose([match.score for match in found], scores, atol=2e-3)
            assert all(match.key in allowed for match in found)

    def below(self, limit):
        return {key: value for key, value in self.model.items() if value[1] < limit}

    def cosine(self, query, row):
        return query @ row / np.linalg.norm(query) / np.linalg.norm(row)

    @invariant()
    def same_rows(self):
        assert sorted(self.store.keys()) == sorted(self.model)
        assert len(self.store) == len(self.model)
        for item in self.store.get(sorted(self.model)):
            row, number = self.model[item.key]
            assert item.metadata == {"n": number}
            np.testing.assert_allclose(item.vector, row / np.linalg.norm(row), atol=1e-3)

    def teardown(self):
        if hasattr(self, "store"):
            assert self.store.check().problems == ()
            self.store.close()
            self.temporary.cleanup()


TestAgainstADict = AgainstADict.TestCase
TestAgainstADict.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)


def test_import_brings_no_index_library(child):
    process = child("import sys, anmok.store; print({'usearch', 'torch', 'onnx'} & set(sys.modules))")
    assert process.stdout.read() == "set()\n"


def test_listed_names_are_there():
    import anmok.store

    assert all(hasattr(anmok.store, name) for name in anmok.store.__all__)
    assert callable(anmok.store.recover)
