"""A store as it grows: build, open, query, filter, upsert and delete, in time, disk and memory, with recall.

    python benchmarks/vectors.py [--rows 10000 100000 1000000] [--dimension 512] [--minutes 60] [--peers]

Vectors are spread as those of pictures are: 2,000 clusters of very different sizes, far more in some directions than in
others (variance falls off as 1/i), and a direction that all share. Queries come from the other modality: the same
clusters, another shared direction, wider. Recall is measured against comparing all rows. The store grows from one size
to the next, so that each size costs only what is new; opening is measured in a new process. Disk is what is left when
the store is closed. With faiss or LanceDB installed, `--peers` puts them beside it at the first size above 50,000.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from timing import keep, machine

from anmok.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

CLUSTERS, QUERIES, TOP = 2000, 200, 10
OPEN_AND_ASK = """
import sys, time
import numpy as np
import usearch.index
from anmok.store import Store
question = np.load(sys.argv[2])[:1]
start = time.perf_counter()
with Store.open(sys.argv[1], readonly=True) as store:
    store.search(question, 10)
    print(time.perf_counter() - start)
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
    rows_, beside = [], []
    for rows in sorted(options.rows):
        if time.perf_counter() - began > 60 * options.minutes:
            print(f"{rows:,} rows were not begun: time is up")
            break
        rows_.append(measure(folder, world, rows, questions))
        if options.peers and rows > 50_000 and not beside:
            with Store.open(folder / "vectors.anmok") as store:
                beside = compare(store, questions)
    keep("vectors", {"dimension": options.dimension, "rows": rows_, "peers": beside})


class World:
    """Where pictures and texts lie: clusters whose sizes fall off as words' do."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
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


def measure(folder: Path, world: World, rows: int, questions: np.ndarray) -> dict[str, float]:
    place = folder / "vectors.anmok"
    with Store.open(place, dimension=world.dimension, create=True) as store:
        first = len(store)
        start = time.perf_counter()
        for number in range(first, rows, 8192):
            count = min(8192, rows - number)
            keys = [f"label {i}" for i in range(number, number + count)]
            store.upsert(keys, world.pictures(count), [{"group": i % 100, "name": key} for i, key in enumerate(keys)])
        store.refresh_index()
        built = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    found = {
        "rows": rows,
        "rows_per_second": (rows - first) / built,
        "disk_mb": sum(file.stat().st_size for file in place.iterdir()) / 1e6,
        "raw_mb": 2 * rows * world.dimension / 1e6,
        "memory_mb": memory,
        "open_s": opened(folder, place),
    }
    index = place / "index.usearch"
    if index.exists():
        index.touch()  # now it is read whole, because it may have changed
        found["check_s"] = opened(folder, place)
    with Store.open(place) as store:
        found |= asked(store, world, questions, rows)
    print(f"\n{rows:,} rows of {world.dimension}, {found['disk_mb'] / found['raw_mb']:.2f} times the float16 vectors")
    for name, value in found.items():
        print(f"  {name:<20} {value:12,.4g}", flush=True)
    return found


def asked(store: Store, world: World, questions: np.ndarray, rows: int) -> dict[str, float]:
    """Milliseconds (medians), and recall."""
    store.search(questions[:1], TOP)
    query = [timed(lambda q=q: store.search(q[None], TOP)) for q in questions]
    found = {
        "query_ms": statistics.median(query),
        "query_p95_ms": sorted(query)[int(0.95 * len(query))],
        "exact_ms": statistics.median(timed(lambda q=q: store.search(q[None], TOP, exact=True)) for q in questions[:5]),
        "recall": store.recall(questions, TOP),
    }
    new = world.pictures(40)
    filtered = [[timed(lambda q=q, g=g: store.search(q[None], TOP, where={"group": g})) for q in questions[:9]]
                for g in range(5)]  # fmt: skip
    found["filtered_ms"] = statistics.median(times[0] for times in filtered)
    found["filtered_again_ms"] = statistics.median(time for times in filtered for time in times[1:])
    steps = {
        "upsert_ms": lambda i: store.upsert([f"new {i}"], new[i : i + 1], [{}]),
        "change_ms": lambda i: store.upsert([f"label {i}"], new[i + 20 : i + 21], [{}]),
        "delete_ms": lambda i: store.delete([f"new {i}"]),
        "query_after_ms": lambda i: store.search(questions[i : i + 1], TOP),
    }
    for name, step in steps.items():
        found[name] = statistics.median(timed(lambda i=i, step=step: step(i)) for i in range(20))
    return found


def opened(folder: Path, store: Path) -> float:
    """Seconds to open it and answer once in a new process, imports left out."""
    command = [sys.executable, "-c", OPEN_AND_ASK, str(store), str(folder / "questions.npy")]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def timed(run: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - start)


# --- beside others


def compare(store: Store, questions: np.ndarray) -> list[dict[str, object]]:
    """The same rows in other indexes, as their documentation suggests; one thread for queries."""
    rows = np.concatenate([vectors for _, vectors, _ in store.scan()])
    truth = np.argsort(-(questions @ rows.T), axis=1)[:, :TOP]
    found = []
    for name, make in PEERS.items():
        start = time.perf_counter()
        try:
            ask, size = make(rows)
        except ImportError:
            print(f"  {name} is not installed")
            continue
        built = time.perf_counter() - start
        times, hits = [], 0
        for query, right in zip(questions, truth, strict=True):
            start = time.perf_counter()
            answer = ask(query)
            times.append(1000 * (time.perf_counter() - start))
            hits += len(set(map(int, answer)) & set(map(int, right)))
        facts = {
            "who": name, "rows": len(rows), "query_ms": statistics.median(times), "recall": hits / truth.size,
            "rows_per_second": len(rows) / built, "size_mb": size / 1e6,
        }  # fmt: skip
        found.append(facts)
        print(
            "  " + ", ".join(f"{k} {v:,.4g}" if isinstance(v, float) else f"{v}" for k, v in facts.items()), flush=True
        )
    return found


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
    from lancedb.index import IvfPq

    folder = tempfile.mkdtemp()
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.astype(np.float32).ravel()), rows.shape[1])
    table = lance.connect(folder).create_table("rows", pa.table({"number": np.arange(len(rows)), "vector": vectors}))
    table.create_index("vector", config=IvfPq(distance_type="dot"))
    size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    asked = lambda query: table.search(query).metric("dot").nprobes(50).refine_factor(20).limit(TOP)  # noqa: E731
    return lambda query: asked(query).to_arrow()["number"].to_pylist(), size


PEERS = {"usearch, float16": usearch_f16, "faiss IVF, float16": faiss_ivf, "LanceDB, IVF-PQ, refined": lancedb}


if __name__ == "__main__":
    main()
