"""Memory of large batches: losses whole and by blocks, and a training step whole and with the gradient cache.

    python benchmarks/loss_memory.py [--pairs 1024 2048 …] [--tile 1024] [--chunk 64]

Each figure comes from a process of its own, which makes the data, goes forward and backward once, and tells its highest
memory; that of a process which only makes the data is taken off. What would need more than half of the memory that
is free is left out. Memory is what this is about: times are single runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timing import machine

# PyTorch is imported by the measured processes alone: a process starts with the highest memory of its parent.
if TYPE_CHECKING:
    from collections.abc import Callable

DIMENSION = 512
POWER = {"softmax": 2, "sigmoid": 2, "step": 1}  # of the pairs, that the memory of the whole grows with


@dataclass(frozen=True)
class Figure:
    """Of one process, or why there is none."""

    mebibytes: float = 0.0
    seconds: float = 0.0
    skipped: str = ""

    def cells(self) -> tuple[str, str]:
        return (self.skipped, "") if self.skipped else (f"{self.mebibytes:,.0f}", f"{self.seconds:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", type=int, default=[1024 * 2**i for i in range(6)])
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--measure", nargs=3, metavar=("WHAT", "HOW", "PAIRS"), help="one figure, as JSON")
    options = parser.parse_args()
    if options.measure:
        what, how, pairs = options.measure
        print(json.dumps(measure(what, how, int(pairs), options)))
        return
    print(machine())
    print(f"\nLoss and gradients of vectors of {DIMENSION} dimensions, blocks of {options.tile}:\n")
    report(["softmax", "sigmoid"], "by blocks", options)
    print(f"\nA step of two small towers (64 pixels) with the softmax loss, chunks of {options.chunk}:\n")
    report(["step"], "cached", options)


def report(whats: list[str], saving: str, options: argparse.Namespace) -> None:
    """One row for each number of pairs, whole and saving memory."""
    print(f"| what | pairs | whole, MiB | {saving}, MiB | whole, s | {saving}, s |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for what in whats:
        last: tuple[int, float] | None = None  # pairs and mebibytes of the largest whole that was measured
        for pairs in sorted(options.pairs):
            needed = 0.0 if last is None else last[1] * (pairs / last[0]) ** POWER[what]
            base = child(what, "nothing", pairs, options)["mebibytes"]
            whole = figure(what, "whole", pairs, options, base, needed)
            if not whole.skipped:
                last = pairs, whole.mebibytes
            mine = figure(what, saving, pairs, options, base)
            memory, seconds = zip(whole.cells(), mine.cells(), strict=True)
            print(f"| {what} | {pairs:,} | {' | '.join(memory)} | {' | '.join(seconds)} |", flush=True)


def figure(what: str, how: str, pairs: int, options: argparse.Namespace, base: float, needed: float = 0.0) -> Figure:
    """Measured in a process of its own, unless it needs more than half of the mebibytes that are free."""
    if (free := free_mebibytes()) is not None and needed > free / 2:
        return Figure(skipped=f"would need about {needed:,.0f} of {free:,.0f} free")
    run = child(what, how, pairs, options)
    return Figure(run["mebibytes"] - base, run["seconds"])


def child(what: str, how: str, pairs: int, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--tile", str(options.tile), "--chunk", str(options.chunk)]
    run = subprocess.run([*command, "--measure", what, how, str(pairs)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout)


def free_mebibytes() -> float | None:
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return None
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) / 1024


# --- in a process of its own -----------------------------------------------------------------


def measure(what: str, how: str, pairs: int, options: argparse.Namespace) -> dict[str, float]:
    import resource

    run = step(how, pairs, options) if what == "step" else loss(what, how, pairs, options)
    start = time.perf_counter()
    run()
    seconds = time.perf_counter() - start
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS tells bytes, Linux kibibytes
    return {"mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, "seconds": seconds}


def loss(what: str, how: str, pairs: int, options: argparse.Namespace) -> Callable[[], None]:
    import torch
    from torch.nn import functional as F

    from anmok.train.losses import sigmoid_loss, softmax_loss

    torch.manual_seed(0)
    vectors = [F.normalize(torch.randn(pairs, DIMENSION), dim=1).requires_grad_() for _ in range(2)]
    scale, bias = torch.tensor(14.3, requires_grad=True), torch.tensor(-10.0, requires_grad=True)
    contrastive, numbers = (softmax_loss, [scale]) if what == "softmax" else (sigmoid_loss, [scale, bias])
    tile = None if how == "whole" else options.tile
    contrastive(*(few[:64].detach().requires_grad_() for few in vectors), *numbers, tile=tile).backward()  # warm up
    if how == "nothing":
        return lambda: None
    return lambda: contrastive(*vectors, *numbers, tile=tile).backward()


def step(how: str, pairs: int, options: argparse.Namespace) -> Callable[[], None]:
    import torch
    from torch.nn import functional as F

    from anmok.models.modules import DualEncoder
    from anmok.train.cached import cached_backward
    from anmok.train.losses import softmax_loss

    torch.manual_seed(0)
    model = DualEncoder(small_towers()).train()
    pixels = torch.randint(0, 256, (256, 3, 64, 64), dtype=torch.uint8)  # a few, over and over
    ids = torch.randint(1, 1000, (256, 16))
    ids[:, -1] = 999  # end of text
    chunks = (torch.arange(pairs) % 256).split(options.chunk)

    def encode(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = model.encode_image(pixels[rows].float() / 255 - 0.5)
        return F.normalize(pictures, dim=1), F.normalize(model.encode_text(ids[rows]), dim=1)

    def objective(pictures: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        return softmax_loss(pictures, texts, model.logit_scale.exp(), tile=options.tile)

    objective(*encode(chunks[0])).backward()  # warm up
    if how == "nothing":
        return lambda: None
    if how == "whole":
        return lambda: objective(*encode(torch.cat(chunks))).backward()
    return lambda: cached_backward(encode, chunks, objective, model=model)


def small_towers() -> object:
    from anmok.models.spec import DualSpec, TextSpec, VitSpec

    image = VitSpec(
        image_size=64, patch_size=16, width=64, layers=2, heads=2, mlp_width=128, activation="gelu", pool="cls",
        class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
    )  # fmt: skip
    text = TextSpec(
        vocabulary=1000, context_length=16, width=64, layers=2, heads=2, mlp_width=128, activation="gelu", causal=True,
        pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=999, pad_token=0,
    )  # fmt: skip
    return DualSpec(image, text, 64, "softmax")


if __name__ == "__main__":
    main()
