"""Claim: small batches hurt softmax more than sigmoid, and beyond a size neither gains (SigLIP, section 4.2, figure 2).

What      Both losses at 64, 256, 1,024 and 4,096 pairs a step, each having seen the same number of pairs, from three
          seeds. The rate grows with the square root of the batch. Above 256, a step is trained by gradient caching.
Command   pip install matplotlib; python recipes/claims/batch_size.py --data DATA
Hardware  two processor cores; about 40 minutes for 24 runs (78 minutes of one core of an AMD EPYC). It goes on where it
          was stopped (--minutes 20). On a GPU it was not run.
Result    docs/claims/batch_size.md: refuted here. At equal pairs seen, the smallest batch is best for both losses, and
          softmax is ahead of sigmoid at 64, 256 and 1,024.
"""

from __future__ import annotations

import math

from common import Point, Variant, difference, parse, prepare, run_all, write_page

SIZES = (64, 256, 1024, 4096)
SEEN = 65_536  # pairs: 16 steps of the largest batch, 1,024 of the smallest
BASE = {"model.size": "tiny-resnet18", "model.image_size": 40, "data.captions": "first"}


def main() -> None:
    arguments = parse(__doc__, "batch_size")
    train, held = prepare(arguments.data, arguments.work, side=45)
    variants = [
        Variant(
            loss,
            size,
            {
                "loss.kind": loss,
                "data.train": [str(train)],
                "run.batch_size": min(size, 256),
                "run.accum_freq": max(1, size // 256),
                "run.steps": SEEN // size,
                "optimizer.warmup": max(1, SEEN // size // 10),
                "optimizer.lr": 1e-3 * math.sqrt(size / 256),
            },
        )
        for size in SIZES
        for loss in ("softmax", "sigmoid")
    ]
    if points := run_all(variants, arguments, BASE, held):
        write_page(
            arguments, "batch_size", points, title="Batch size, the same number of pairs seen",
            x="pairs per step", text=conclusion(points), log=True,
        )  # fmt: skip


def conclusion(points: list[Point]) -> str:
    by = {(one.curve, one.x): one for one in points}
    gaps = {size: difference(by["sigmoid", size], by["softmax", size]) for size in SIZES}
    listed = ", ".join(f"{size}: {mean:+.1f} ± {half:.1f}" for size, (mean, half) in gaps.items())
    best = {loss: max(SIZES, key=lambda size, loss=loss: by[loss, size].mean) for loss in ("softmax", "sigmoid")}
    mean, half = gaps[SIZES[0]]
    if abs(mean) <= half:
        verdict = f"At {SIZES[0]} pairs the two do not differ beyond the interval: the claim is not shown here."
    elif mean > 0:
        verdict = f"At {SIZES[0]} pairs sigmoid is ahead: the claim holds here."
    else:
        verdict = f"At {SIZES[0]} pairs softmax is ahead: the claim fails here."
    return (
        f"Sigmoid minus softmax: {listed} points. Best for softmax: {best['softmax']}, for sigmoid: {best['sigmoid']}. "
        f"**{verdict}** With {SEEN:,} pairs seen, a step of {SIZES[-1]:,} is taken {SEEN // SIZES[-1]} times: what a "
        "large batch loses here it loses to too few steps, which is what a small team meets. The paper trains on "
        "billions."
    )


if __name__ == "__main__":
    main()
