"""Claim: the sigmoid loss stands caption noise better than softmax (SigLIP, arXiv 2303.15343, section 4.9, figure 7).

What      A share of the training pictures (0, 10, 30, 50%) gets the captions of other pictures; both losses learn from
          the same pictures, for the same steps, from four seeds.
Command   pip install matplotlib; python recipes/claims/noise.py --data DATA
Hardware  two processor cores; 41 minutes for 32 runs (AMD EPYC, Zen 4). It goes on where it was stopped (--minutes 20).
          On a GPU it was not run: `--jobs` says how many runs go side by side there, one unless told.
Result    docs/claims/noise.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from common import Point, Variant, difference, parse, prepare, rewritten, run_all, write_page

from anmok.pairs import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

NOISE = (0, 10, 30, 50)  # percent
BASE = {"model.size": "tiny-resnet18", "model.image_size": 48, "data.captions": "first", "run.epochs": 8}


def main() -> None:
    arguments = parse(__doc__, "noise", seeds=4)
    train, held = prepare(arguments.data, arguments.work, side=54)
    variants = []
    for noise in NOISE:
        noisy = rewritten(
            train, arguments.work / f"noisy-{noise}", lambda pairs, noise=noise: mixed(pairs, noise / 100)
        )
        for loss in ("softmax", "sigmoid"):
            variants.append(Variant(loss, noise, {"loss.kind": loss, "data.train": [str(noisy)]}))
    if points := run_all(variants, arguments, BASE, held):
        write_page(
            arguments, "noise", points, title="Softmax against sigmoid under caption noise",
            x="captions that belong to another picture, %", text=conclusion(points),
        )  # fmt: skip


def mixed(pairs: list[Pair], share: float) -> Iterator[Pair]:
    """A share of the pairs trade captions among themselves (a cycle, so that none keeps its own)."""
    random = np.random.default_rng(0)
    chosen = random.permutation(len(pairs))[: round(share * len(pairs))]
    texts = dict(zip(chosen, np.roll(chosen, 1), strict=True))
    for i, pair in enumerate(pairs):
        other = pairs[texts.get(i, i)]
        yield Pair(pair.name, pair.picture, other.texts, other.labels, pair.source, other.captions)


def conclusion(points: list[Point]) -> str:
    by = {(one.curve, one.x): one for one in points}
    lost = {}
    for loss in ("softmax", "sigmoid"):
        mean, half = difference(by[loss, 0], by[loss, NOISE[-1]])
        lost[loss] = f"{loss} loses {mean:.1f} ± {half:.1f} points from no noise to {NOISE[-1]}%"
    clean_softmax, noisy_softmax, clean_sigmoid, noisy_sigmoid = (
        by[loss, noise].values for loss in ("softmax", "sigmoid") for noise in (0, NOISE[-1])
    )
    falls = zip(clean_softmax, noisy_softmax, clean_sigmoid, noisy_sigmoid, strict=True)
    drops = [(a - b) - (c - d) for a, b, c, d in falls]
    gap = Point("", 0, float(np.mean(drops)), 0, tuple(drops))
    mean, half = difference(gap, Point("", 0, 0, 0, (0.0,) * len(drops)))
    if abs(mean) <= half:
        verdict = "With these data the difference is within its interval: the claim is neither shown nor refuted here."
    elif mean > 0:
        verdict = "Sigmoid degrades more slowly: the claim holds here."
    else:
        verdict = "Softmax degrades more slowly: the claim fails here."
    gaps = [(noise, *difference(by["sigmoid", noise], by["softmax", noise])) for noise in NOISE]
    level = [f"{noise}%: {mean:+.1f} ± {half:.1f}" for noise, mean, half in gaps]
    return (
        f"{lost['softmax']}; {lost['sigmoid']}. The difference of the two losses' falls is {mean:.1f} ± {half:.1f} "
        f"points. **{verdict}** Sigmoid minus softmax at each level: {', '.join(level)} points. The paper's figure is "
        "of a ViT with 3.6 billion examples seen; this is a small CNN with a few tens of thousands."
    )


if __name__ == "__main__":
    main()
