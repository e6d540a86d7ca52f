"""Faults from good parts only: how well they are told and found, how fast, and in how much memory.

    python benchmarks/inspecting.py [--infrared solar_infrared.tar] [--model anmok-mini] [--good 24] [--keep]

Drawn parts (see drawn_parts.py), with seeds that nothing was tuned on: AUROC of pictures and of pixels, AUPRO, and how
often good parts are called faulty. Infrared pictures of solar modules (24 x 40 pixels, no masks): AUROC of pictures,
and by kind of fault. Beside: PatchCore as published (Roth et al. 2022, arXiv 2106.08265) on the same features and
places, with scikit-learn's nearest neighbours, the largest distance and equation 7; needs the extra `evaluate`.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import tarfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from detection import aupro, auroc
from drawn_parts import FAULTS, KINDS, SIDE, draw_part
from PIL import Image
from timing import keep, machine

import anmok
from anmok.inspect import Inspector, WordInspector
from anmok.inspect.coreset import greedy_coreset
from anmok.inspect.heat import enlarge
from anmok.inspect.look import places_of_tile
from anmok.inspect.tiling import Tiling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anmok.encoder import Encoder

FIRST = 50_000  # seeds of what is reported; tuned on 1000 to 2000
NAMES = {"nut": "metal nut", "cloth": "woven cloth", "label": "label"}
NEIGHBOURS = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--infrared", type=Path)
    parser.add_argument("--model", default="anmok-mini")
    parser.add_argument("--good", type=int, default=24, help="good parts of each kind to learn from")
    parser.add_argument("--each", type=int, default=16, help="good and faulty parts of each kind to inspect")
    parser.add_argument("--seed", type=int, default=FIRST)
    parser.add_argument("--methods", nargs="*", help="beginnings of their names; default: all")
    parser.add_argument("--keep", action="store_true", help="write docs/benchmarks/inspecting.json")
    options = parser.parse_args()
    print(machine())
    encoder = anmok.load(options.model, precision="fp32")
    drawn = on_drawn(encoder, options)
    infrared = on_infrared(encoder, options.infrared, options.methods) if options.infrared else []
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the whole run: {peak:.0f} MiB")
    if options.keep:
        facts = {"model": options.model, "drawn": drawn, "infrared": infrared, "peak_mib": round(peak)}
        keep("inspecting", plain(facts))


def methods_for(good: int) -> dict[str, Callable[[Encoder, Sequence[Any], str], Any]]:
    """Name → encoder, good pictures and the name of the part → something with `inspect`."""

    def fitted(count: int) -> Callable[[Encoder, Sequence[Any], str], Inspector]:
        return lambda encoder, pictures, name: Inspector.fit(encoder, pictures[:count])

    return {
        f"patch memory, {good} good": fitted(good),
        "patch memory, 16 good": fitted(16),
        "few-shot, 4 good": fitted(4),
        "few-shot, 1 good": fitted(1),
        "words": lambda encoder, pictures, name: WordInspector(encoder, name),
        f"PatchCore as published, {good} good": lambda encoder, pictures, name: PlainPatchCore(
            encoder, pictures[:good]
        ),
    }


def plain(value: Any) -> Any:
    """For JSON, which has no word for what was not measured but null."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return (None if np.isnan(value) else round(value, 4)) if isinstance(value, float) else value


def wanted(name: str, methods: Sequence[str] | None) -> bool:
    return not methods or name.startswith(tuple(methods))


# --- drawn parts ----------------------------------------------------------------------------------


def on_drawn(encoder: Encoder, options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for kind in KINDS:
        seed = options.seed
        good = [draw_part(kind, seed + k)[0] for k in range(options.good)]
        asked = [draw_part(kind, seed + 1000 + k) for k in range(options.each)]
        asked += [draw_part(kind, seed + 2000 + k, FAULTS[k % len(FAULTS)]) for k in range(options.each)]
        for name, make in methods_for(options.good).items():
            if not wanted(name, options.methods):
                continue
            row = {"parts": kind, "method": name, **measured(make, encoder, good, asked, NAMES[kind])}
            rows.append(row)
            print(" ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{value!s:<34}"
                           for key, value in row.items()), flush=True)  # fmt: skip
    for name in methods_for(options.good):
        of_method = [row for row in rows if row["method"] == name]
        if of_method:
            figures = ("auroc", "pixel_auroc", "aupro", "false_alarms", "found", "pointed", "ms")
            numbers = {key: [row[key] for row in of_method if not np.isnan(row[key])] for key in figures}
            mean = {key: float(np.mean(values)) for key, values in numbers.items() if values}
            print(f"mean  {name:<34} " + " ".join(f"{key} {value:.3f}" for key, value in mean.items()))
    return rows


def measured(make: Any, encoder: Encoder, good: Sequence[Any], asked: Sequence[Any], name: str) -> dict[str, Any]:
    began = time.perf_counter()
    judge = make(encoder, good, name)
    fit_s, began = time.perf_counter() - began, time.perf_counter()
    found = judge.inspect([picture for picture, _ in asked])
    ms = 1000 * (time.perf_counter() - began) / len(asked)
    masks = np.stack([mask for _, mask in asked])
    truth = masks.any(axis=(1, 2))
    maps = np.stack([full_size(one.heat) for one in found])
    faults = np.array([one.fault for one in found])
    hits = [hit(one, mask) for one, mask in zip(found, masks, strict=True) if one.fault and mask.any()]
    return {
        "auroc": auroc(truth, np.array([one.score for one in found])),
        "pixel_auroc": auroc(masks, maps),
        "aupro": aupro(masks, maps),
        "false_alarms": float(faults[~truth].mean()),
        "found": float(faults[truth].mean()),
        "pointed": float(np.mean(hits)) if hits else float("nan"),  # of the found: the first box lies on the fault
        "fit_s": fit_s,
        "ms": ms,
        "memory_mib": judge.memory.mib if isinstance(judge, Inspector) else float("nan"),
    }


def full_size(heat: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(heat).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def hit(inspection: Any, mask: np.ndarray) -> bool:
    box = inspection.boxes[0] if inspection.boxes else None
    return box is not None and bool(mask[box.top : box.bottom, box.left : box.right].any())


# --- infrared pictures of solar modules ----------------------------------------------------------------


def on_infrared(encoder: Encoder, path: Path, methods: Sequence[str] | None) -> list[dict[str, Any]]:
    pictures: dict[str, bytes] = {}
    facts: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            key, kind = member.name.rsplit(".", 1)
            content = archive.extractfile(member).read()
            (facts if kind == "json" else pictures)[key] = json.loads(content) if kind == "json" else content
    good = [pictures[key] for key, fact in facts.items() if fact["split"] == "train" and not fact["defect"]]
    asked = [key for key, fact in facts.items() if fact["split"] == "eval"]
    truth = np.array([facts[key]["defect"] for key in asked])
    print(f"infrared: {len(good)} good to learn from, {(~truth).sum()} good and {truth.sum()} faulty to inspect")
    rows = []
    for name, make in methods_for(len(good)).items():
        if not wanted(name, methods):
            continue
        began = time.perf_counter()
        judge = make(encoder, good, "solar module")
        fit_s, began = time.perf_counter() - began, time.perf_counter()
        found = judge.inspect([pictures[key] for key in asked])
        ms = 1000 * (time.perf_counter() - began) / len(asked)
        scores = np.array([one.score for one in found])
        faults = np.array([one.fault for one in found])
        kinds = defaultdict(list)
        for key, score in zip(asked, scores, strict=True):
            if facts[key]["defect"]:
                kinds[facts[key]["type"]].append(score)
        by_kind = {
            kind: auroc([False] * int((~truth).sum()) + [True] * len(of), np.concatenate([scores[~truth], of]))
            for kind, of in sorted(kinds.items())
        }
        row = {"method": name, "auroc": auroc(truth, scores), "false_alarms": float(faults[~truth].mean()),
               "found": float(faults[truth].mean()), "fit_s": fit_s, "ms": ms, "by_kind": by_kind}  # fmt: skip
        rows.append(row)
        print(f"{name:<34} auroc {row['auroc']:.3f} false alarms {row['false_alarms']:.3f} found {row['found']:.3f} "
              f"fit {fit_s:.1f} s, {ms:.0f} ms a picture")  # fmt: skip
        print("    " + ", ".join(f"{kind} {value:.2f}" for kind, value in by_kind.items()), flush=True)
    return rows


# --- the reference ------------------------------------------------------------------------------------


class PlainPatchCore:
    """PatchCore as the paper has it: raw features, a coreset, the largest distance, equation 7. Same tiles as ours."""

    memory = None

    def __init__(self, encoder: Encoder, good: Sequence[Any], *, entries: int = 4096) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.encoder = encoder
        cells, _ = places_of_tile(encoder)
        first = opened(good[0])
        tile = encoder.checkpoint.transform.size
        self.tiling = Tiling.choose((first.height, first.width), tile=tile, cells=cells, most=16)
        rng = np.random.default_rng(0)
        each = max(64, 32768 // len(good))
        pool = np.concatenate([rng.permutation(self._look(one).reshape(-1, self.width))[:each] for one in good])
        self.kept = pool[greedy_coreset(pool, min(entries, len(pool) // 4), rng=rng)]
        self.nearest = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(self.kept)
        self.around = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(self.kept)

    def _look(self, picture: Any) -> np.ndarray:
        tiles = self.tiling.cut(self.tiling.fit(opened(picture)))
        local = self.encoder.features(tiles).local
        self.width = local.shape[-1]
        return self.tiling.join(local)

    def inspect(self, pictures: Sequence[Any]) -> list[Any]:
        return [self._inspect(picture) for picture in pictures]

    def _inspect(self, picture: Any) -> Any:
        from anmok.inspect import Inspection

        features = self._look(picture)
        flat = features.reshape(-1, self.width)
        distances, rows = (found[:, 0] for found in self.nearest.kneighbors(flat))
        worst = int(distances.argmax())
        neighbours = self.around.kneighbors(self.kept[rows[worst]][None], return_distance=False)[0]
        apart = np.linalg.norm(self.kept[neighbours] - flat[worst], axis=1).astype(np.float64)
        weight = 1 - np.exp(distances[worst] - apart.max()) / np.exp(apart - apart.max()).sum()
        heat = enlarge(distances.reshape(features.shape[:2]).astype(np.float32), self.tiling.canvas, smooth=0.5)
        return Inspection("", score=float(weight * distances[worst]), heat=heat)


def opened(picture: Any) -> Image.Image:
    from anmok.pictures import read

    return read(io.BytesIO(picture).getvalue() if isinstance(picture, bytes) else picture)


if __name__ == "__main__":
    main()
