"""A store as it grows: build, open, query, filter, upsert and delete, in time, disk and memory, with recall.

    python benchmarks/vectors.py [--rows 10000 100000 1000000] [--dimension 512] [--folder FOLDER] [--minutes 60]

Vectors are spread as those of pictures are: 2,000 clusters of very different sizes, far more in some directions than in
others (variance falls off as 1/i), and a direction that all share. Queries come from the other modality: the same
clusters, another shared direction, wider. Recall is measured against
comparing all rows. The store grows from one size to the next, so that each size costs only what is new; opening is
measured in a new process. With usearch, faiss or LanceDB installed, `--peers` puts them beside it at the first size
above 50,000.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from timing import machine

from anmok.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTERS, QUERIES, TOP = 2000, 200, 10
OPEN_AND_ASK = """
import json, sys, time
import numpy as np
start = time.perf_counter()
from anmok.store import Store
imported = time.perf_counter()
with Store.open(sys.argv[1], readonly=True) as store:
    opened = time.perf_counter()
    store.search(np.load(sys.argv[2])[:1], 10)
    print(json.dumps([imported - start, opened - imported, time.perf_counter() - opened]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60, help="no larger size is begun after so long")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        grow(Path(folder), options)


def grow(folder: Path, options: argparse.Namespace) -> None:
    world = World(options.dimension)
    began = time.perf_counter()
    questions = world.texts(QUERIES)
    np.save(folder / "questions.npy", questions)
    peers = options.peers
    with Store.open(folder / "vectors.anmok", dimension=options.dimension, create=True) as store:
        for rows in sorted(options.rows):
            if time.perf_counter() - began > 60 * options.minutes:
                print(f"{rows:,} rows were not begun: time is up")
                break
            measure(store, world, rows, questions, folder)
            if peers and rows > 50_000:
                compare(store, questions)
                peers = False


class World:
    """Where pictures and texts lie: clusters whose sizes fall off as words' do."""

    def __init__(self, dimension: int) -> None:
        self._random = np.random.default_rng(0)
        self._sizes = (np.arange(1, dimension + 1) ** -0.5).astype(np.float32)  # of the directions
        self._turn = np.linalg.qr(self._random.normal(size=(dimension, dimension)))[0].astype(np.float32)
        self._centers = self._random.normal(size=(CLUSTERS, dimension)).astype(np.float32)
        self._shared = 2 * self._random.normal(size=(2, dimension)).astype(np.float32)  # of pictures, of texts
        weights = 1 / np.arange(1, CLUSTERS + 1)
        self._weights = weights / weights.sum()

    def pictures(self, count: int) -> np.ndarray:
        return self._drawn(count, self._shared[0], 0.7)

    def texts(self, count: int) -> np.ndarray:
        return self._drawn(count, self._shared[1], 0.9)

    def _drawn(self, count: int, shared: np.ndarray, spread: float) -> np.ndarray:
        places = self._random.choice(CLUSTERS, count, p=self._weights)
        noise = self._random.standard_normal((count, self._centers.shape[1]), np.float32)
        rows = ((self._centers[places] + shared + spread * noise) * self._sizes) @ self._turn
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def measure(store: Store, world: World, rows: int, questions: np.ndarray, folder: Path) -> None:
    missing, first = rows - len(store), len(store)
    start = time.perf_counter()
    for number in range(first, rows, 8192):
        count = min(8192, rows - number)
        keys = [f"label {i}" for i in range(number, number + count)]
        store.upsert(keys, world.pictures(count), [{"group": i % 100, "name": key} for i, key in enumerate(keys)])
    written = time.perf_counter() - start
    store.refresh_index()
    built = time.perf_counter() - start
    raw = 2 * rows * store.dimension
    print(f"\n{rows:,} rows of {store.dimension}")
    print(f"  written and indexed   {missing / built:10,.0f} rows/s ({written:.0f} s, then {built - written:.0f} s)")
    disk = sum(file.stat().st_size for file in store.path.iterdir())
    print(f"  disk                  {disk / 1e6:10,.0f} MB, {disk / raw:.2f} times the float16 vectors")
    imports, opens, asks = opened(folder, store.path)
    print(
        f"  in a new process      {opens:10.3f} s to open, {asks:.3f} s for the first query ({imports:.2f} s imports)"
    )
    one = [timed(lambda q=q: store.search(q[None], TOP)) for q in questions]
    exact = [timed(lambda q=q: store.search(q[None], TOP, exact=True)) for q in questions[:5]]
    print(
        f"  query                 {told(one)}, recall@10 {store.recall(questions, TOP):.4f}; all compared {told(exact)}"
    )
    filtered = [timed(lambda q=q: store.search(q[None], TOP, where={"group": 7})) for q in questions[:20]]
    print(f"  query, 1% allowed     {told(filtered)}")
    new = world.pictures(40)
    upserts = [timed(lambda i=i: store.upsert([f"new {i}"], new[i : i + 1], [{}])) for i in range(20)]
    changes = [timed(lambda i=i: store.upsert([f"label {i}"], new[i + 20 : i + 21], [{}])) for i in range(20)]
    deletes = [timed(lambda i=i: store.delete([f"new {i}"])) for i in range(20)]
    after = [timed(lambda q=q: store.search(q[None], TOP)) for q in questions[:20]]
    print(f"  add one               {told(upserts)}")
    print(f"  change one            {told(changes)}")
    print(f"  delete one            {told(deletes)}")
    print(f"  query after           {told(after)}")
    print(f"  peak memory           {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:10,.0f} MB", flush=True)


def opened(folder: Path, store: Path) -> list[float]:
    command = [sys.executable, "-c", OPEN_AND_ASK, str(store), str(folder / "questions.npy")]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def told(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{1000 * statistics.median(seconds):10.2f} ms p50, {1000 * ordered[int(0.95 * (len(ordered) - 1))]:.2f} p95"


# --- beside others


def compare(store: Store, questions: np.ndarray) -> None:
    """The same rows in other indexes, as their documentation suggests."""
    rows = np.concatenate([vectors for _, vectors, _ in store.scan()])
    truth = np.argsort(-(questions @ rows.T), axis=1)[:, :TOP]
    print(f"\n  beside others, {len(rows):,} rows, one thread for queries")
    for name, make in PEERS.items():
        try:
            start = time.perf_counter()
            ask, size = make(rows)
            built = time.perf_counter() - start
        except ImportError:
            print(f"  {name:<21} is not installed")
            continue
        times, hits = [], 0
        for query, right in zip(questions, truth, strict=True):
            start = time.perf_counter()
            found = ask(query)
            times.append(time.perf_counter() - start)
            hits += len(set(map(int, found)) & set(map(int, right)))
        print(
            f"  {name:<21} {told(times)}, recall@10 {hits / truth.size:.4f}, built at {len(rows) / built:,.0f} rows/s, "
            f"{size / 1e6:,.0f} MB",
            flush=True,
        )


def usearch_f16(rows: np.ndarray) -> tuple[Callable, int]:
    from usearch.index import Index

    index = Index(ndim=rows.shape[1], metric="ip", dtype="f16")
    index.add(np.arange(len(rows)), rows)
    return lambda query: index.search(query, TOP).keys, index.memory_usage


def faiss_ivf(rows: np.ndarray) -> tuple[Callable, int]:
    import faiss

    lists = int(4 * len(rows) ** 0.5)
    index = faiss.index_factory(rows.shape[1], f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.train(rows[: 64 * lists])
    index.add(rows)
    index.nprobe = 32
    faiss.omp_set_num_threads(1)
    return lambda query: index.search(query[None], TOP)[1][0], 2 * rows.size


def lancedb(rows: np.ndarray) -> tuple[Callable, int]:
    import lancedb as lance
    import pyarrow as pa

    folder = tempfile.mkdtemp()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(np.float32).ravel()), rows.shape[1])
    table = lance.connect(folder).create_table("rows", pa.table({"number": np.arange(len(rows)), "vector": vectors}))
    table.create_index(metric="dot")
    size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return lambda query: table.search(query).metric("dot").limit(TOP).to_arrow()["number"].to_pylist(), size


PEERS = {"usearch, float16": usearch_f16, "faiss IVF, float16": faiss_ivf, "LanceDB, its defaults": lancedb}


if __name__ == "__main__":
    main()
