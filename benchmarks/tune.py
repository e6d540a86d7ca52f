"""What tuning takes and gives: LoRA beside all weights, the last groups of layers, and learned prompts.

    python benchmarks/tune.py cost [--models anmok-mini ViT-B-32] [--steps 4] [--batch 32]
    python benchmarks/tune.py accuracy --data DATA [--shots 4 16] [--steps 60] [--seeds 1]
    python benchmarks/tune.py curve --data DATA [--shots 16] [--steps 60]

`cost`: numbers trained, bytes of the optimizer, peak memory of a process of its own, seconds of processor time a step
(varying the pictures included). ViT-B-32 has random weights, which cost the same.
`accuracy`: of anmok-mini on pictures that were not tuned on: infrared pictures of solar modules (normal or defective)
and drawn patterns, which it has not seen, and waste (TrashNet), whose pictures were in its training.
`curve`: WiSE-FT, weights between zero-shot and tuned on the solar modules, and what the other two sets think of them.
Nothing here touches the evaluation data.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from timing import machine

from anmok import Encoder
from anmok.checkpoints import Checkpoint, load_checkpoint
from anmok.embeddings import unit
from anmok.models.modules import DualEncoder
from anmok.models.sizes import SIZES
from anmok.pictures import Transform
from anmok.texts import Tokenizer
from anmok.tune import PromptSettings, TowerSettings, interpolate, tune_prompts, tune_towers

METHODS = {
    "LoRA": TowerSettings(),
    "LoRA, pictures only": TowerSettings(text=False),
    "LoRA, lr of the paper": TowerSettings(lr=2e-4),
    "last 2 groups": TowerSettings(method="last", lr=1e-4),
    "all weights": TowerSettings(method="full", lr=1e-4),
}
PATTERNS = ("stripes", "checkerboard", "polka dots", "grid", "zigzag", "concentric circles")
TEMPLATES = ("{}", "a photo of {}.", "a picture of {}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("cost", "accuracy", "curve", "one"))
    parser.add_argument("--models", nargs="+", default=["anmok-mini", "ViT-B-32"])
    parser.add_argument("--methods", nargs="+", default=["LoRA", "last 2 groups", "all weights"], choices=list(METHODS))
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--shots", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with extra/ and train/, of shards")
    options = parser.parse_args()
    if options.what == "one":  # in a process of its own, for its peak memory
        one(options.models[0], options.methods[0], options)
        return
    print(machine(), flush=True)
    {"cost": cost, "accuracy": accuracy, "curve": curve}[options.what](options)


def cost(options: argparse.Namespace) -> None:
    print("| model | what trains | numbers trained | of | optimizer | peak memory | processor s a step |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for model in options.models:
        for method in options.methods:
            command = [sys.executable, __file__, "one", "--models", model, "--methods", method]
            command += ["--steps", str(options.steps), "--batch", str(options.batch)]
            told = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            print(
                f"| {model}, batch {options.batch} | {method} | {told['parameters']:,} | {told['of']:,} "
                f"| {told['optimizer'] / 1e6:.1f} MB | {told['memory']:,.0f} MB | {told['step']:.2f} |",
                flush=True,
            )


def one(model: str, method: str, options: argparse.Namespace) -> None:
    if model == "anmok-mini":
        checkpoint = load_checkpoint(model)
    else:
        torch.manual_seed(0)
        weights = {name: value.numpy() for name, value in DualEncoder(SIZES[model]).state_dict().items()}
        checkpoint = Checkpoint(model, SIZES[model], weights, Transform((224, 224)), Tokenizer.clip())
    pictures, targets = patterns(options.batch, side=256)
    spent = []
    for steps in (1, 1, 1 + options.steps):  # the last difference is steps alone; of processor time, whoever else runs
        settings = replace(METHODS[method], steps=steps, batch_size=options.batch)
        began = time.process_time()
        facts = tune_towers(checkpoint, pictures, targets, texts(PATTERNS), settings=settings).facts
        spent.append(time.process_time() - began)
    told = {"parameters": facts.parameters, "of": facts.of, "optimizer": facts.optimizer_bytes}
    print(json.dumps(told | {"memory": facts.peak_memory_mb, "step": (spent[2] - spent[1]) / options.steps}))


def accuracy(options: argparse.Namespace) -> None:
    checkpoint = load_checkpoint("anmok-mini")
    print("| set | shots | " + " | ".join(["zero-shot", "CoOp", *options.methods]) + " |")
    print("| --- | ---: |" + " ---: |" * (2 + len(options.methods)))
    for name in options.sets:
        make = SETS[name]
        for shots in options.shots:
            rows = []
            for seed in range(options.seeds):
                names, (pictures, targets), test = make(shots, seed, options.data)
                told = [measured(checkpoint, names, test)]
                vectors = Encoder(checkpoint, precision="fp32").encode_image(pictures).vectors
                prompts = tune_prompts(checkpoint, vectors, targets, names, settings=PromptSettings(), seed=seed)
                told.append(measured(checkpoint, names, test, prompts))
                for method in options.methods:
                    settings = replace(METHODS[method], steps=options.steps, batch_size=options.batch)
                    tuned = tune_towers(checkpoint, pictures, targets, texts(names), settings=settings, seed=seed)
                    told.append(measured(tuned.checkpoint, names, test))
                    print(f"  {name} {shots} {seed} {method} {tuned.facts.seconds:.0f} s", file=sys.stderr, flush=True)
                rows.append(told)
            print(f"| {name} | {shots} | " + " | ".join(map(percent, zip(*rows, strict=True))) + " |", flush=True)


def curve(options: argparse.Namespace) -> None:
    checkpoint = load_checkpoint("anmok-mini")
    sets = {name: make(options.shots[-1], 0, options.data) for name, make in SETS.items()}
    names, (pictures, targets), _ = sets["solar modules"]
    print("| tuned on solar modules by | set | " + " | ".join(f"{share:g}" for share in SHARES) + " |")
    print("| --- | --- |" + " ---: |" * len(SHARES))
    for method in options.methods:
        settings = replace(METHODS[method], steps=options.steps, batch_size=options.batch)
        tuned = tune_towers(checkpoint, pictures, targets, texts(names), settings=settings).checkpoint
        between = [replace(tuned, weights=interpolate(checkpoint.weights, tuned.weights, share)) for share in SHARES]
        for name, (labels, _, test) in sets.items():
            told = [f"{measured(model, labels, test):.1%}" for model in between]
            print(f"| {method} | {name} | " + " | ".join(told) + " |", flush=True)


SHARES = (0, 0.25, 0.5, 0.75, 1)
Pictures = tuple[list, np.ndarray]


def texts(names: tuple[str, ...]) -> list[list[str]]:
    return [[template.format(name) for template in TEMPLATES] for name in names]


def measured(
    checkpoint: Checkpoint, names: tuple[str, ...], test: Pictures, classes: np.ndarray | None = None
) -> float:
    """Mean accuracy over classes."""
    encoder = Encoder(checkpoint, precision="fp32")
    if classes is None:
        classes = unit(np.stack([encoder.encode_text(some).vectors.mean(axis=0) for some in texts(names)]))
    right = (encoder.encode_image(test[0]).vectors @ classes.T).argmax(axis=1) == test[1]
    return float(np.mean([right[test[1] == one].mean() for one in range(len(names))]))


def percent(numbers: tuple[float, ...]) -> str:
    return f"{np.mean(numbers):.1%}" + (f" ± {np.std(numbers):.1%}" if len(numbers) > 1 else "")


# --- sets: names, so many examples of each class, and a test set


def split(of_class: dict[str, list], shots: int, seed: int, most: int = 60) -> tuple[Pictures, Pictures]:
    random = np.random.default_rng(seed)
    parts: list[list] = [[], [], [], []]
    for number, items in enumerate(of_class.values()):
        order = random.permutation(len(items))
        chosen, rest = order[:shots], order[-most:] if len(order) > shots + most else order[shots:]
        parts[0] += [items[i] for i in chosen]
        parts[1] += [number] * len(chosen)
        parts[2] += [items[i] for i in rest]
        parts[3] += [number] * len(rest)
    return (parts[0], np.array(parts[1])), (parts[2], np.array(parts[3]))


def members(*files: Path) -> list[tuple[dict, bytes]]:
    """The description and the bytes of every picture of some shards."""
    found: dict[str, dict] = {}
    for file in files:
        with tarfile.open(file) as tar:
            for member in tar:
                key, _, kind = member.name.rpartition(".")
                found.setdefault(key, {})[kind == "json"] = tar.extractfile(member).read()
    return [(json.loads(both[True]), both[False]) for both in found.values()]


def solar(shots: int, seed: int, data: Path) -> tuple[tuple[str, ...], Pictures, Pictures]:
    names = ("a normal solar module", "a defective solar module")
    of_class: dict[str, dict[str, list]] = {part: {name: [] for name in names} for part in ("train", "eval")}
    for facts, picture in members(data / "extra" / "solar_infrared.tar"):
        of_class[facts["split"]][names[facts["defect"]]].append(picture)
    few, _ = split(of_class["train"], shots, seed)
    _, test = split(of_class["eval"], 0, seed, most=100)
    return names, few, test


def waste(shots: int, seed: int, data: Path) -> tuple[tuple[str, ...], Pictures, Pictures]:
    of_class: dict[str, list] = {}
    for facts, picture in members(*sorted((data / "train").glob("main-*.tar"))):
        if facts["source"] == "trashnet":
            of_class.setdefault(facts["labels"][0], []).append(picture)
    of_class = dict(sorted(of_class.items()))
    return tuple(of_class), *split(of_class, shots, seed)


def drawn(shots: int, seed: int, _: Path) -> tuple[tuple[str, ...], Pictures, Pictures]:
    few = patterns(shots * len(PATTERNS), seed=seed)
    return PATTERNS, few, patterns(40 * len(PATTERNS), seed=1000 + seed)


def patterns(count: int, *, seed: int = 0, side: int = 96) -> Pictures:
    random = np.random.default_rng(seed)
    targets = np.arange(count) % len(PATTERNS)
    return [pattern(PATTERNS[target], random, side) for target in targets], targets


def pattern(name: str, random: np.random.Generator, side: int) -> Image.Image:
    """One pattern in two random colors, of random width, turned by a random angle."""
    big, step = 2 * side, int(side * random.uniform(0.1, 0.22))
    ground, ink = (tuple(int(value) for value in random.integers(*span, 3)) for span in ((130, 256), (0, 110)))
    if random.random() < 0.5:
        ground, ink = ink, ground
    picture = Image.new("RGB", (big, big), ground)
    pen, half = ImageDraw.Draw(picture), max(2, step // 2)
    for row, y in enumerate(range(0, big, step)):
        if name == "stripes":
            pen.rectangle((0, y, big, y + half), fill=ink)
        elif name == "grid":
            for box in ((0, y, big, y + step // 5), (y, 0, y + step // 5, big)):
                pen.rectangle(box, fill=ink)
        elif name == "zigzag":
            pen.line([(x, y + half * (i % 2)) for i, x in enumerate(range(0, big, half))], fill=ink, width=step // 4)
        elif name == "concentric circles":
            pen.ellipse((side - y, side - y, side + y, side + y), outline=ink, width=max(2, step // 3))
        else:
            for x in range(row % 2 * step, big, 2 * step):
                draw = pen.rectangle if name == "checkerboard" else pen.ellipse
                draw((x, y, x + step, y + step) if name == "checkerboard" else (x, y, x + half, y + half), fill=ink)
    left, top = (int(value) for value in random.integers(side // 4, 3 * side // 4, 2))
    turned = picture.rotate(random.uniform(-15, 15), Image.Resampling.BILINEAR, fillcolor=ground)
    kept = turned.crop((left, top, left + side, top + side))
    with io.BytesIO() as file:  # as pictures come: compressed
        kept.save(file, "JPEG", quality=80)
        return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


SETS = {"solar modules": solar, "drawn patterns": drawn, "waste (seen in training)": waste}


if __name__ == "__main__":
    main()
