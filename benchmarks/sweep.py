"""How speed depends on the batch and on the threads, for every way that anmok has and for open_clip, in one run.

python benchmarks/sweep.py [--model ViT-B-32] [--batches 1 2 4 8 16 32 64] [--threads 1 2] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from encode import candidates, in_torch, open_clip_model, random_checkpoint
from references import declare_operators
from timing import keep, machine, take_turns

from anmok.pictures import normalize
from anmok.runtime.choice import open_tower


def main() -> None:
    declare_operators()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--threads", nargs="+", type=int, default=sorted({1, cores}))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{machine()}\n{options.model}, pictures/s")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = random_checkpoint(options.model, Path(folder))
        reference = open_clip_model(options.model, checkpoint)
        for threads in options.threads:
            torch.set_num_threads(threads)
            sessions = {
                f"anmok, {way}": open_tower(checkpoint, "image", way, threads=threads)
                for way in candidates(checkpoint)
                if way.kept == 0
            }
            for batch in options.batches:
                raw = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
                pixels = torch.from_numpy(normalize(raw, checkpoint.transform))
                runs = {"open_clip fp32": in_torch(lambda pixels=pixels: reference.encode_image(pixels))}
                for who, session in sessions.items():
                    runs[who] = lambda session=session, raw=raw: session.run(["embedding"], {"pixels": raw})[0]
                for who, timing in take_turns(runs, rounds=options.rounds).items():
                    rows.append({"who": who, "threads": threads, "batch": batch, "per_second": batch / timing.median})
                shown = ", ".join(f"{row['who']} {row['per_second']:.1f}" for row in rows[-len(runs) :])
                print(f"  {threads} threads, batch {batch}: {shown}", flush=True)
    keep("sweep", {"model": options.model, "rows": rows})


if __name__ == "__main__":
    main()
