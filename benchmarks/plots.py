"""Draws what the benchmarks kept in docs/benchmarks/*.json as pictures beside them (pip install matplotlib).

python benchmarks/plots.py
"""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import matplotlib as mpl
from timing import KEPT

mpl.use("Agg")
mpl.rcParams["svg.hashsalt"] = "anmok"  # equal numbers, equal file
from matplotlib import pyplot as plt  # noqa: E402 (after the choice of what draws)


def main() -> None:
    drawn = {"encode": encode, "sweep": sweep, "vectors": vectors, "adapt": adapt}
    drawn |= {"serve_load": serve_load, "serve_soak": serve_soak}
    for name, draw in drawn.items():
        file = KEPT / f"{name}.json"
        if not file.exists():
            print(f"{file} is not there: docs/benchmarks.md has the command that writes it")
            continue
        figure = draw(json.loads(file.read_text(encoding="utf-8")))
        figure.tight_layout()
        figure.savefig(file.with_suffix(".svg"), metadata={"Date": None})
        plt.close(figure)
        print(file.with_suffix(".svg"))


def encode(facts: dict[str, Any]) -> Any:
    """Times as fast as open_clip, for each model and batch."""
    models = list(dict.fromkeys(row["model"] for row in facts["pictures"]))
    batches = sorted({row["batch"] for row in facts["pictures"]})
    figure, axes = plt.subplots(
        len(models), len(batches), figsize=(5 * len(batches) + 2, 3.3 * len(models)), sharey=True, squeeze=False
    )
    for axis, (model, batch) in zip(axes.ravel(), product(models, batches), strict=True):
        rows = [row for row in facts["pictures"] if (row["model"], row["batch"]) == (model, batch)][::-1]
        low = [row["times"] - row["lowest"] for row in rows]
        high = [row["highest"] - row["times"] for row in rows]
        colors = ["tab:blue" if row["who"].startswith("anmok") else "tab:gray" for row in rows]
        names = [row["who"].replace("100% of its products with care", "in blocks") for row in rows]
        axis.barh(names, [row["times"] for row in rows], xerr=[low, high], color=colors)
        for place, row in enumerate(rows):
            axis.annotate(f" {row['share']:.0%}", (row["highest"], place), va="center", fontsize=8)
        axis.margins(x=0.14)
        axis.set(title=f"{model}, batch {batch}", xlabel="times open_clip fp32 (% of the product limit)")
        axis.grid(axis="x", alpha=0.3)
    return figure


def sweep(facts: dict[str, Any]) -> Any:
    """Pictures per second by batch; a panel for each number of threads."""
    threads = sorted({row["threads"] for row in facts["rows"]})
    figure, axes = plt.subplots(1, len(threads), figsize=(5 * len(threads), 3.8), sharey=True, squeeze=False)
    for axis, count in zip(axes[0], threads, strict=True):
        for who in dict.fromkeys(row["who"] for row in facts["rows"]):
            rows = [row for row in facts["rows"] if row["who"] == who and row["threads"] == count]
            style = {"color": "tab:gray", "linestyle": "--"} if who.startswith("open_clip") else {}
            axis.plot(*_points(rows, "batch", "per_second"), marker="o", label=who, **style)
        _by_size(axis, [row["batch"] for row in facts["rows"]])
        axis.set(title=f"{facts['model']}, {count} thread{'s' * (count > 1)}", xlabel="pictures in a batch")
    axes[0][0].set_ylabel("pictures/s")
    axes[0][0].legend(fontsize=8, loc="upper left")
    return figure


def adapt(facts: dict[str, Any]) -> Any:
    """Accuracy by pictures of each label; a panel for each set."""
    sets = list(dict.fromkeys(row["set"] for row in facts["rows"]))
    figure, axes = plt.subplots(2, (len(sets) + 1) // 2, figsize=(13, 7.5), sharex=True)
    for axis, name in zip(axes.ravel(), sets, strict=False):
        for who in dict.fromkeys(row["who"] for row in facts["rows"]):
            rows = [row for row in facts["rows"] if (row["set"], row["who"]) == (name, who)]
            style = "--" if who.startswith("scikit") else ":" if who == "zero-shot" else "-"
            axis.errorbar(
                [row["shots"] for row in rows], [100 * row["accuracy"] for row in rows],
                yerr=[100 * row["half"] for row in rows], label=who, linestyle=style, capsize=2,
                linewidth=3 if who == "shipped" else 1.3,
            )  # fmt: skip
        axis.set(title=name, xscale="log", xlabel="pictures of each label", ylabel="recognised, %")
        axis.set_xticks([1, 2, 4, 8, 16], ["1", "2", "4", "8", "16"])
        axis.grid(alpha=0.3)
    axes.ravel()[0].legend(fontsize=7)
    return figure


def vectors(facts: dict[str, Any]) -> Any:
    """What grows with the rows of a store."""
    rows = sorted(facts["rows"], key=lambda row: row["rows"])
    figure, ((asked, written), (size, building)) = plt.subplots(2, 2, figsize=(9, 6.4))
    for key, name in (("query_ms", "query"), ("exact_ms", "all compared"), ("filtered_ms", "1% allowed"),
                      ("filtered_again_ms", "the same filter again"), ("upsert_ms", "add one")):  # fmt: skip
        asked.plot(*_points(rows, "rows", key), marker="o", label=name)
    asked.set(title="time, median", ylabel="ms", yscale="log")
    for key, name in (("open_s", "open and first query"), ("check_s", "opened after a change of the file")):
        written.plot(*_points(rows, "rows", key), marker="o", label=name)
    written.set(title="in a new process", ylabel="seconds")
    for key, name in (("disk_mb", "disk"), ("raw_mb", "vectors in float16"), ("memory_mb", "peak memory, building")):
        size.plot(*_points(rows, "rows", key), marker="o", label=name)
    size.set(title="size", ylabel="MB", yscale="log")
    building.plot(*_points(rows, "rows", "rows_per_second"), marker="o", label="written and indexed")
    building.set(title="building", ylabel="rows/s")
    building.set_ylim(bottom=0)
    for axis in (asked, written, size, building):
        _by_size(axis, [row["rows"] for row in rows])
        axis.set_xlabel("rows")
        axis.legend(fontsize=8)
    return figure


def serve_load(facts: dict[str, Any]) -> Any:
    """Pictures a second and the longest waits, by clients, for each server."""
    colors = {"anmok": "tab:blue", "plain": "tab:gray", "infinity": "tab:orange"}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for name in dict.fromkeys(row["server"] for row in facts["rows"]):
        rows = [row for row in facts["rows"] if row["server"] == name and row["pictures"] == 1]
        for axis, key in zip(axes, ("pictures_s", "p99_ms"), strict=True):
            axis.plot(*_points(rows, "clients", key), marker="o", label=name, color=colors.get(name))
    alone = facts["alone"]["1"]
    for name, color in (("anmok", colors["anmok"]), ("transformers", colors["plain"])):
        axes[0].axhline(alone[name], linestyle=":", color=color, label=f"the encoder of {name}, one at a time")
    axes[0].set(title="pictures a second", ylim=(0, None))
    axes[1].set(title="p99 of what a client waits, ms", yscale="log")
    for axis in axes:
        _by_size(axis, [row["clients"] for row in facts["rows"]])
        axis.set_xlabel("clients, a picture in each request")
        axis.legend(fontsize=8)
    return figure


def serve_soak(facts: dict[str, Any]) -> Any:
    """Memory of the service and its decoders as it works on."""
    figure, axis = plt.subplots(figsize=(9, 2.6))
    axis.plot([second / 60 for second, _ in facts["memory_mb"]], [megabytes for _, megabytes in facts["memory_mb"]])
    axis.set(title=f"{facts['requests']:,} requests, {facts['errors']} errors", xlabel="minutes", ylabel="MB")
    axis.set_ylim(0, 1.25 * max(megabytes for _, megabytes in facts["memory_mb"]))
    axis.grid(alpha=0.3)
    return figure


def _points(rows: list[dict[str, Any]], x: str, y: str) -> tuple[list[float], list[float]]:
    there = [row for row in rows if row.get(y) is not None]
    return [row[x] for row in there], [row[y] for row in there]


def _by_size(axis: Any, sizes: list[int]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(sorted(set(sizes)), [f"{size:,}" for size in sorted(set(sizes))])
    axis.minorticks_off()
    axis.grid(alpha=0.3)


if __name__ == "__main__":
    main()
