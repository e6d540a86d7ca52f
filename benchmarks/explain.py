"""Which heat map to trust: maps of scenes in which the places of things are known, for several kinds of tower.

    python benchmarks/explain.py [--models anmok-mini FOLDER …] [--data TRAIN_SHARDS] [--scenes 100] [--curves 30]

A scene is three things at known places on a plain or noisy canvas that is wider than high, and the text names one of
them. Things are drawn shapes ("a red circle") or, with `--data`, pictures of shards (emoji, groceries, clothes) with
their first caption. For each method:

    pointing   is the hottest place on that thing?                   (chance: its share of the picture)
    overlap    IoU of its box with what is at least half as hot as the hottest place
    deletion   mean score while the hottest places go first          (lower is better)
    insertion  mean score while they come first into a blurred copy  (higher is better)

Only things that the model tells from the other two of the scene, when it sees each by itself, are asked for: a model
that does not know a thing cannot say where it is. Beside the methods stand a map that is hottest in the middle and a
random one. Scores are taken, not times. A model's numbers replace its earlier ones in docs/benchmarks/explain.json.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from timing import KEPT, keep, machine

import anmok
from anmok.explain import explain, methods_of
from anmok.explain.judge import area, deletion, insertion, overlap, pointing
from anmok.explain.question import ask
from anmok.train.synthetic import COLORS, SHAPES, draw_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anmok import Encoder

    Maker = Callable[[Image.Image, str], NDArray[np.float32]]

HEIGHT, WIDTH, SIDE = 240, 360, 96  # of a scene, and of the longer side of a thing in it, pixels
SOURCES = ("emoji_noto", "emoji_twemoji", "emoji_fluent", "grocery", "clothing")
MEASURES = ("pointing", "overlap", "deletion", "insertion")


@dataclass(frozen=True)
class Thing:
    picture: Image.Image
    text: str


@dataclass(frozen=True)
class Scene:
    picture: Image.Image
    things: list[Thing]
    boxes: list[tuple[int, int, int, int]]  # top, left, bottom, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["anmok-mini"])
    parser.add_argument("--data", type=Path, help="a folder of shards whose pictures stand in scenes, not shapes")
    parser.add_argument("--scenes", type=int, default=100)
    parser.add_argument("--curves", type=int, default=30, help="scenes whose deletion and insertion are measured")
    options = parser.parse_args()
    print(machine(), flush=True)
    things = read_things(options.data) if options.data else None
    scenes = [make_scene(np.random.default_rng((7, number)), things) for number in range(options.scenes)]
    for model in options.models:
        encoder = anmok.load(model, precision="fp32")
        rows, asked = measure(encoder, scenes, makers_of(encoder), options.curves)
        spec = encoder.checkpoint.spec.image
        facts = {
            "model": Path(model).name,
            "tower": f"{type(spec).__name__.removesuffix('Spec')}, pool {getattr(spec, 'pool', 'attention')}",
            "things": "pictures" if things else "shapes",
            "asked": asked,
            "scenes": len(scenes),
            "methods": rows,
        }
        print(f"\n{facts['model']} ({facts['tower']}): {asked} of {len(scenes)} {facts['things']}")
        print(f"  {'':16}" + "".join(f"{name:>11}" for name in MEASURES))
        for method, row in rows.items():
            print(f"  {method:16}" + "".join(f"{row[name]:11.3f}" for name in MEASURES), flush=True)
        remember(facts)


def remember(facts: dict[str, Any]) -> None:
    """Put a model's numbers in place of its earlier ones."""
    path = KEPT / "explain.json"
    known = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    same = ("model", "things")
    others = [row for row in known if any(row[key] != facts[key] for key in same)]
    keep("explain", {"rows": [*others, facts]})


def read_things(folder: Path) -> list[Thing]:
    """The pictures of SOURCES in the shards, with their first English caption."""
    things = []
    for shard in sorted(folder.glob("main-*.tar")):
        with tarfile.open(shard) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}
        for name, content in files.items():
            if name.endswith(".json") and (facts := json.loads(content))["source"] in SOURCES:
                picture = Image.open(io.BytesIO(files[name.removesuffix("json") + "webp"])).convert("RGB")
                things.append(Thing(picture, facts["captions_en"][0]))
    return things


def a_shape(rng: np.random.Generator) -> Thing:
    color, shape = str(rng.choice(list(COLORS))), str(rng.choice(list(SHAPES)))
    return Thing(draw_shape(rng, color, shape, SIDE), f"a {color} {shape}")


def make_scene(rng: np.random.Generator, things: list[Thing] | None) -> Scene:
    """Three things (shapes without `things`) with different texts, in three of the six fields of a canvas."""
    drawn: list[Thing] = []
    while len(drawn) < 3:
        thing = things[rng.integers(len(things))] if things else a_shape(rng)
        if thing.text not in [other.text for other in drawn]:
            drawn.append(thing)
    ground = rng.uniform(60, 250, 3) + rng.normal(0, rng.choice([0, 25]), (HEIGHT, WIDTH, 3))
    canvas = Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))
    boxes = []
    for thing, field in zip(drawn, rng.permutation(6)[:3], strict=True):
        small = thing.picture.resize([round(side * SIDE / max(thing.picture.size)) for side in thing.picture.size])
        row, column = divmod(int(field), 3)
        left = column * WIDTH // 3 + int(rng.integers(0, WIDTH // 3 - small.width + 1))
        top = row * HEIGHT // 2 + int(rng.integers(0, HEIGHT // 2 - small.height + 1))
        canvas.paste(small, (left, top), small if small.mode == "RGBA" else None)
        first, upper, last, lower = small.getbbox()  # of a shape, without what is transparent around it
        boxes.append((top + upper, left + first, top + lower, left + last))
    return Scene(canvas, drawn, boxes)


def makers_of(encoder: Encoder) -> dict[str, Maker]:
    """Every method that this encoder has, and two that know nothing."""
    makers: dict[str, Maker] = {
        method: lambda picture, text, method=method: explain(encoder, picture, text, method=method).values
        for method in methods_of(encoder)
    }
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    middle = -np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2)
    middle = ((middle - middle.min()) / (middle.max() - middle.min())).astype(np.float32)
    random = np.random.default_rng(0)

    def any_map(picture: Image.Image, text: str) -> NDArray[np.float32]:
        small = Image.fromarray(random.random((6, 9), dtype=np.float32))
        return np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))

    return makers | {"(the middle)": lambda picture, text: middle, "(random)": any_map}


def measure(
    encoder: Encoder, scenes: list[Scene], makers: dict[str, Maker], curves: int
) -> tuple[dict[str, dict[str, float]], int]:
    """The mean of each measure for each method, and of how many things."""
    found: dict[str, dict[str, list[float]]] = {name: {measure: [] for measure in MEASURES} for name in makers}
    asked = 0
    for scene in scenes:
        alone = encoder.encode_image([on_gray(thing.picture) for thing in scene.things])
        near = alone @ encoder.encode_text([thing.text for thing in scene.things])
        if near[0].argmax() != 0:
            continue
        asked += 1
        text, box = scene.things[0].text, scene.boxes[0]
        toward = ask(encoder, text).toward
        for name, maker in makers.items():
            values, rows = maker(scene.picture, text), found[name]
            rows["pointing"].append(pointing(values, box))
            rows["overlap"].append(overlap(values, box))
            if asked <= curves:
                rows["deletion"].append(area(deletion(encoder, scene.picture, toward, values)))
                rows["insertion"].append(area(insertion(encoder, scene.picture, toward, values)))
    return {
        name: {measure: float(np.mean(values)) for measure, values in rows.items()} for name, rows in found.items()
    }, asked


def on_gray(picture: Image.Image) -> Image.Image:
    gray = Image.new("RGB", picture.size, (180, 180, 180))
    gray.paste(picture, mask=picture if picture.mode == "RGBA" else None)
    return gray


if __name__ == "__main__":
    main()
