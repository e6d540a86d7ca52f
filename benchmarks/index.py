"""A folder of 12-megapixel photographs, from files to vectors, beside open_clip with a DataLoader, in one run.

    python benchmarks/index.py [--model ViT-B-32] [--pictures 96] [--rounds 3] [--rclip PYTHON]

anmok indexes into a collection on disk (files read and hashed, pictures decoded and encoded, rows committed); open_clip
does what its documentation shows: its own preprocessing in a DataLoader with a worker per core, then `encode_image`,
vectors kept in memory. anmok runs once exactly (fp32, whole pictures) and once as it does after it has measured this
machine. Random weights say nothing about how near int8 stays: here it is taken without the gate, for its speed.
rclip (torch-free, ONNX Runtime) runs in an environment of its own, whose Python is given, with the same tower.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from encode import open_clip_model, random_checkpoint
from PIL import Image
from references import declare_operators
from timing import Timing, keep, machine, ratios

from anmok.collections import Collection
from anmok.encoder import Encoder
from anmok.everyday import everyday_photographs
from anmok.runtime import choice as choosing
from anmok.runtime.choice import Choice, Way, ways

if TYPE_CHECKING:
    from collections.abc import Callable

    from anmok.checkpoints import Checkpoint


def main() -> None:
    declare_operators()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--pictures", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rclip", help="a Python that has rclip 3.3 installed")
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ANMOK_HOME"] = folder + "/home"
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    photographs = make_photographs(folder / "photographs", options.pictures)
    size = sum(file.stat().st_size for file in photographs.iterdir()) / 1e6
    print(f"{options.model}, {options.pictures} JPEGs of 4000 x 3000, {size:.0f} MB")
    checkpoint = random_checkpoint(options.model, folder)
    fastest = quickest(checkpoint)
    runs: dict[str, Callable[[Path], list[float] | None]] = {
        "open_clip, DataLoader": lambda _: with_open_clip(options.model, checkpoint, photographs),
        "anmok, exact": lambda at: indexed(Encoder(checkpoint, precision="fp32"), photographs, at),
        f"anmok, {fastest}, shrunk": lambda at: indexed(chosen(checkpoint, fastest), photographs, at),
    }
    if options.rclip:
        tower = exported(options.model, checkpoint, folder / "tower.onnx")
        runs["rclip"] = lambda at: with_rclip(options.rclip, tower, photographs, at)
    found: dict[str, list[float]] = {who: [] for who in runs}
    busy: dict[str, list[float]] = {who: [] for who in runs}
    for turn in range(options.rounds):
        for who, run in runs.items():
            before = time.perf_counter(), cpu_seconds()
            told = run(folder / f"{turn}-{len(who)}.anmok")
            seconds, worked = told or (time.perf_counter() - before[0], cpu_seconds() - before[1])
            found[who].append(seconds)
            busy[who].append(worked / seconds / len(os.sched_getaffinity(0)))
    theirs = Timing(tuple(found["open_clip, DataLoader"]))
    rows = []
    for who, seconds in found.items():
        timing = Timing(tuple(seconds))
        median, low, high = ratios(timing, theirs)
        print(
            f"  {who:<44} {options.pictures / timing.median:7.2f} pictures/s, {median:.2f} times open_clip "
            f"({low:.2f}–{high:.2f}), cores {sorted(busy[who])[len(seconds) // 2]:.0%} busy"
        )
        rows.append(
            {"who": who, "seconds": seconds, "times": median, "lowest": low, "highest": high, "busy": busy[who]}
        )
    keep("index", {"model": options.model, "pictures": options.pictures, "rows": rows})


def make_photographs(folder: Path, count: int) -> Path:
    """JPEGs of 12 million pixels each with other content, as a camera would write them."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number, content in enumerate(everyday_photographs(count)):
        picture = np.asarray(Image.open(io.BytesIO(content)))[:3000, :4000].astype(np.int16)
        picture = np.clip(picture + random.integers(-6, 7, picture.shape, np.int16), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:04}.jpg", quality=90)
    return folder


def quickest(checkpoint: Checkpoint) -> Way:
    """The fastest way to run the picture tower here, whether it is near enough or not; its graph is converted."""
    workshop = choosing._Workshop(checkpoint, "image", 0)
    speeds, _ = workshop.timed([way for way in ways(checkpoint) if not way.kept])
    fastest = max(speeds, key=lambda way: speeds[way])
    workshop.keep(fastest)
    return fastest


def chosen(checkpoint: Checkpoint, way: Way) -> Encoder:
    """An encoder as it is when that way was chosen."""
    encoder = Encoder(checkpoint)
    encoder._towers._choices["image"] = Choice(way, shrunk=1.0)
    encoder._towers._may_settle = False
    return encoder


def indexed(encoder: Encoder, photographs: Path, at: Path) -> None:
    with Collection(at, encoder=encoder) as collection:
        report = collection.add_folder(photographs)
    assert not report.failed, report.failed[:1]


def with_open_clip(name: str, checkpoint: Checkpoint, photographs: Path) -> None:
    """As open_clip's readme has it, in batches of 32."""
    import open_clip
    from torch.utils.data import DataLoader

    from anmok.checkpoints.open_clip import to_open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(name)
    arrays = to_open_clip(checkpoint.spec, checkpoint.weights)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})
    model.eval()
    files = Files(sorted(photographs.iterdir()), preprocess)
    loader = DataLoader(files, batch_size=32, num_workers=len(os.sched_getaffinity(0)))
    with torch.inference_mode():
        torch.cat([model.encode_image(batch) for batch in loader])


# What rclip does for `rclip --no-search`, with a tower that is here instead of one to download.
RCLIP = """
import sys, time
from rclip import db, main, model, model_download
model_download.download_visual_query_model = lambda: sys.argv[1]
before = time.perf_counter(), time.process_time()
indexer = main.RClip(model.Model(), db.DB(sys.argv[3]), 8, None)
indexer.ensure_index(sys.argv[2])
print(time.perf_counter() - before[0], time.process_time() - before[1])
"""


def exported(name: str, checkpoint: Checkpoint, file: Path) -> Path:
    """open_clip's picture tower as rclip has it: normalized pixels [n, 3, 224, 224] → [n, 512], in float32."""
    visual = open_clip_model(name, checkpoint).visual
    torch.onnx.export(
        visual, (torch.zeros(2, 3, 224, 224),), file, input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "n"}, "output": {0: "n"}}, opset_version=17, dynamo=False,
    )  # fmt: skip
    return file


def with_rclip(python: str, tower: Path, photographs: Path, at: Path) -> list[float]:
    """Seconds, and seconds of work of all cores, as it tells them itself: its imports are left out."""
    command = [python, "-c", RCLIP, str(tower), str(photographs), str(at.with_suffix(".db"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(value) for value in done.stdout.split()[-2:]]


class Files(torch.utils.data.Dataset):
    def __init__(self, files: list[Path], preprocess: Callable) -> None:
        self.files, self.preprocess = files, preprocess

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.preprocess(Image.open(self.files[index]))


def cpu_seconds() -> float:
    """Of this process and those that it started and that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
