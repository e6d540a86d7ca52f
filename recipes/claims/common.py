"""What the experiments share: the data, a grid of runs that can be interrupted, intervals, a plot, a page.

Every experiment is a table of variants (options of a recipe) times seeds. A run whose result is on disk is not run
again, so an experiment goes on where it was stopped. On a processor as many runs as there are cores go side by side,
each on one thread: models this small gain a third that way, and something else on the machine slows them less. All
numbers are of pictures held out from the training shards; the evaluation sets are never looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import multiprocessing
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.pairs import Pair, open_pairs, write_shards
from anmok.pictures import read
from anmok.processor import processor_name, usable_cores
from anmok.train.loop import train
from anmok.train.recipe import Recipe, with_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

CLASSES = ("grocery", "clothing", "trashnet")  # sets with classes, in which zero-shot accuracy is measured
HELD_OUT = 8  # one picture in so many is kept apart
T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}  # Student's t, two-sided, by sample size
SMALL: dict[str, Any] = {  # a model that two cores train in a few minutes
    "model.size": "tiny-resnet", "model.vocabulary": 4000, "run.log_every": 50, "run.save_every": 10**9,
    "run.evaluate_every": 10**9, "run.batch_size": 256, "run.workers": 0, "data.held_out": 0.0, "optimizer.lr": 1e-3,
    "optimizer.warmup": 40, "augment.scale": [0.5, 1.0], "augment.mirror": 0.5,
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One curve's one point. `curve` and `x` place it in the plot; `options` change the recipe."""

    curve: str
    x: float
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.curve} {self.x:g}".replace("/", "-").replace(" ", "-")


@dataclass(frozen=True)
class Point:
    """Mean and half of the 95% interval of one variant over its seeds, in percent."""

    curve: str
    x: float
    mean: float
    half: float
    values: tuple[float, ...]


def parse(doc: str, name: str, *, seeds: int = 3) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/*.tar")
    parser.add_argument("--work", type=Path, default=Path("runs/claims") / name, help="runs; delete to start anew")
    parser.add_argument("--output", type=Path, default=Path("docs/claims"), help="where page and plot go")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--jobs", type=int, default=jobs(), help="runs side by side, each on one thread")
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; run again to go on")
    return parser.parse_args()


def jobs() -> int:
    """One run per core; on a GPU one at a time."""
    import torch

    return 1 if torch.cuda.is_available() else usable_cores()


# --- data


def prepare(data: Path, work: Path, *, side: int, sources: Sequence[str] = CLASSES) -> tuple[Path, Path]:
    """Small copies of the pictures in shards: one of training pairs, one held out. Decoded once, so runs are quick.

    Pictures are squashed to `side` pixels and stored uncompressed. English captions only.
    """
    train_folder, held_folder = work / f"train-{side}", work / f"held-{side}"
    if not held_folder.exists():
        pairs = [pair for pair in _small(data / "train", side) if pair.source.startswith(tuple(sources))]
        held = [pair for pair in pairs if _number(pair.name) % HELD_OUT == 0]
        kept = [pair for pair in pairs if _number(pair.name) % HELD_OUT]
        write_shards(kept, train_folder, prefix="train")
        write_shards(held, held_folder, prefix="held")
    return train_folder, held_folder


def _small(folder: Path, side: int) -> Iterator[Pair]:
    for pair in open_pairs(folder):
        if isinstance(pair, Pair):
            english = pair.captions.get("en") or pair.texts
            yield replace(
                pair, picture=ppm(read(pair.picture).resize((side, side))), texts=english, captions={"en": english}
            )


def ppm(picture: Any) -> bytes:
    """A picture as a file without compression."""
    buffer = io.BytesIO()
    picture.save(buffer, "PPM")
    return buffer.getvalue()


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big")


def rewritten(source: Path, target: Path, change: Callable[[list[Pair]], Iterable[Pair]]) -> Path:
    """A changed copy of some shards; made once."""
    if not target.exists():
        pairs = [pair for pair in open_pairs(source) if isinstance(pair, Pair)]
        unfinished = target.with_name(f"{target.name}.unfinished")
        write_shards(change(pairs), unfinished, prefix=target.name)
        unfinished.rename(target)
    return target


# --- runs


def run_all(
    variants: Sequence[Variant], arguments: argparse.Namespace, base: Mapping[str, Any], held: Path
) -> list[Point]:
    """Run every variant with every seed; [] where time ran out before all were done."""
    todo = [
        (
            {**SMALL, **base, **variant.options, "data.evaluate": [str(held)], "run.seed": seed},
            place(arguments, variant, seed),
        )
        for seed in range(arguments.seeds)
        for variant in variants
    ]
    deadline = time.time() + arguments.minutes * 60
    with side_by_side(arguments) as pool:
        waiting = [pool.submit(run_one, options, folder, deadline) for options, folder in todo]
        for count, (run, (_, folder)) in enumerate(zip(waiting, todo, strict=True), start=1):
            if found := run.result():
                print(
                    f"{count}/{len(todo)} {folder.name}: {score(found['numbers']):.1f}% in {found['wall']:.0f} s",
                    flush=True,
                )
    if not all((folder / "result.json").exists() for _, folder in todo):
        print("stopped before all runs were done: run again to go on", file=sys.stderr)
        return []
    return [point(variant, arguments) for variant in variants]


def side_by_side(arguments: argparse.Namespace) -> ProcessPoolExecutor:
    """Processes of one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # they inherit it
    return ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn"))


def place(arguments: argparse.Namespace, variant: Variant, seed: int) -> Path:
    return Path(arguments.work) / "runs" / f"{variant.name}-seed-{seed}"


def run_one(options: Mapping[str, Any], folder: Path, deadline: float) -> dict[str, Any] | None:
    """Train and measure one model, or go on with it; None where it was done before or time is out."""
    if (folder / "result.json").exists() or time.time() > deadline:
        return None
    before = time.monotonic(), time.process_time()
    result = train(with_options(Recipe(), {**options, "run.output": str(folder)}), resume="latest")
    wall, busy = time.monotonic() - before[0], time.process_time() - before[1]
    found = {"numbers": last_numbers(folder), "seconds": result.seconds, "wall": wall, "processor": busy}
    (folder / "result.json").write_text(json.dumps(found, indent=1))
    return found


def last_numbers(folder: Path) -> dict[str, float]:
    """The numbers of the last evaluation of a run."""
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] == "evaluate"]
    return {name: value for name, value in records[-1].items() if isinstance(value, float)}


def score(numbers: Mapping[str, float]) -> float:
    """Zero-shot accuracy in percent, the mean over the sets with classes (the finest level)."""
    wanted = [f"{name}{level} accuracy@1 en" for name in CLASSES for level in ("", " fine")]
    return 100 * statistics.mean(numbers[name] for name in wanted if name in numbers)


def point(variant: Variant, arguments: argparse.Namespace) -> Point:
    values = []
    for seed in range(arguments.seeds):
        found = json.loads((place(arguments, variant, seed) / "result.json").read_text())
        values.append(score(found["numbers"]))
    return Point(variant.curve, variant.x, statistics.mean(values), half_interval(values), tuple(values))


def half_interval(values: Sequence[float]) -> float:
    """Half of the 95% interval of a mean (Student's t)."""
    n = len(values)
    return T95.get(n, 1.96) * statistics.stdev(values) / math.sqrt(n) if n > 1 else math.nan


def difference(one: Point, other: Point) -> tuple[float, float]:
    """Mean of one minus other, seed by seed, and half of its 95% interval."""
    gaps = [a - b for a, b in zip(one.values, other.values, strict=True)]
    return statistics.mean(gaps), half_interval(gaps)


# --- what people look at


def plot(points: Sequence[Point], file: Path, *, title: str, x: str, log: bool = False) -> None:
    """Curves with their 95% intervals (pip install matplotlib)."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "anmok"  # equal numbers, equal file
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2))
    for curve in dict.fromkeys(one.curve for one in points):
        some = sorted((one for one in points if one.curve == curve), key=lambda one: one.x)
        axes.errorbar(
            [one.x for one in some], [one.mean for one in some], yerr=[one.half for one in some],
            marker="o", capsize=4, label=curve,
        )  # fmt: skip
    if not x:  # things beside each other, not numbers: one point each
        axes.set_xticks([one.x for one in points], [one.curve for one in points])
        axes.margins(x=0.15)
    if log:
        axes.set_xscale("log")
        axes.set_xticks(sorted({one.x for one in points}), [f"{one:g}" for one in sorted({one.x for one in points})])
        axes.minorticks_off()
    axes.set(title=title, xlabel=x, ylabel="zero-shot accuracy, %")
    axes.grid(alpha=0.3)
    if x:
        axes.legend()
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def table(points: Sequence[Point], x: str) -> str:
    """Markdown: a row per curve, a column per x; without a name for x, a row per point."""
    if not x:
        rows = [f"| {one.curve} | {one.mean:.1f} ± {one.half:.1f} |" for one in sorted(points, key=lambda one: one.x)]
        return "\n".join(["| trained on | accuracy, % |", "| --- | ---: |", *rows])
    columns = sorted({one.x for one in points})
    lines = [f"| {x} | " + " | ".join(f"{column:g}" for column in columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for curve in dict.fromkeys(one.curve for one in points):
        cells = {one.x: f"{one.mean:.1f} ± {one.half:.1f}" for one in points if one.curve == curve}
        lines.append(f"| {curve} | " + " | ".join(cells.get(column, "–") for column in columns) + " |")
    return "\n".join(lines)


def write_page(
    arguments: argparse.Namespace,
    name: str,
    points: Sequence[Point],
    *,
    title: str,
    x: str,
    text: str,
    log: bool = False,
) -> None:
    """`NAME.md`, `NAME.svg` and `NAME.json` in the output folder."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    plot(points, arguments.output / f"{name}.svg", title=title, x=x, log=log)
    (arguments.output / f"{name}.json").write_text(
        json.dumps([vars(one) for one in points], indent=1) + "\n", encoding="utf-8"
    )
    busy = [json.loads(f.read_text())["processor"] for f in sorted(arguments.work.glob("runs/*/result.json"))]
    cost = (
        f"{len(busy)} runs of one thread each, {sum(busy) / 60:.0f} minutes of processor time (half of that on two "
        f"cores; {processor_name()}). Mean and 95% interval (Student's t) of {arguments.seeds} seeds; "
        "zero-shot accuracy, the mean of groceries (81 classes), "
        "clothing (10) and waste (6), on pictures held out from the training shards."
    )
    page = f"# {title}\n\n![{title}]({name}.svg)\n\n{table(points, x)}\n\n{cost}\n\n{text.strip()}\n"
    (arguments.output / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)
