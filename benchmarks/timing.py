"""Fair timings: candidates take turns, so that a noisy machine disturbs all of them alike."""

from __future__ import annotations

import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["KEPT", "Timing", "keep", "machine", "ratios", "take_turns"]

KEPT = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"


@dataclass(frozen=True)
class Timing:
    """Seconds of every round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        return f"{1000 * self.median:9.1f} ms ({1000 * min(self.seconds):.1f}–{1000 * max(self.seconds):.1f})"


def take_turns(candidates: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 1) -> dict[str, Timing]:
    """Run the candidates A B C A B C …, `rounds` counted times each after `warmup` that are not."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warmup + rounds):
        for name, run in candidates.items():
            time.sleep(0.05)  # threads of ONNX Runtime spin for a while after a run, in the way of the next candidate
            start = time.perf_counter()
            run()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def ratios(ours: Timing, theirs: Timing) -> tuple[float, float, float]:
    """How many times faster we are, pair by pair: median, lowest, highest."""
    pairs = [theirs / mine for mine, theirs in zip(ours.seconds, theirs.seconds, strict=True)]
    return statistics.median(pairs), min(pairs), max(pairs)


def machine() -> str:
    """Processor, cores and instruction sets, to stand beside every figure."""
    from anmok.doctor import examine_machine

    return next(finding.detail for finding in examine_machine() if finding.name == "processor") + (
        f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    )


def keep(name: str, facts: Mapping[str, Any]) -> None:
    """Write numbers, with the machine that they are of, for `plots.py` and for whoever wants to compute with them."""
    KEPT.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine().split(", load")[0], **facts}, indent=1, ensure_ascii=False)
    (KEPT / f"{name}.json").write_text(text + "\n", encoding="utf-8")
