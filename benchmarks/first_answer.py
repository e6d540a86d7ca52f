"""From nothing to the first answer: whole processes, `anmok classify` beside transformers' zero-shot pipeline.

    python benchmarks/first_answer.py [--rounds 5]

Both load the same CLIP (random weights, about as many parameters as anmok-mini) from the same Hugging Face
folder and classify one photograph with three labels; `anmok-mini` itself is shown beside them. The file cache
is warm and Python's bytecode written: one round that is not counted comes first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.resources import as_file, files
from pathlib import Path

import torch
from timing import Timing, keep, machine, ratios

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.models.modules.dual import DualEncoder
from anmok.models.spec import DualSpec, TextSpec, VitSpec
from anmok.pictures import Transform
from anmok.texts import Tokenizer

LABELS = "cat,dog,car"
# A process starts with the highest memory of its parent, and this one has loaded PyTorch: a small one stands between.
BETWEEN = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.stderr.decode() if done.returncode else 0)
"""
HERE = str(Path(__file__).parent)
PIPELINE = """
import sys
sys.path.insert(0, sys.argv[4])
from references import declare_operators
declare_operators()
from transformers import pipeline
classify = pipeline("zero-shot-image-classification", model=sys.argv[1])
print(classify(sys.argv[2], candidate_labels=sys.argv[3].split(",")))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as scratch, as_file(files("anmok") / "data" / "demo") as pictures:
        folder = Path(scratch) / "clip"
        save_checkpoint(small_clip(), folder)
        picture = str(pictures / "photo-cat.jpg")
        anmok = [sys.executable, "-m", "anmok", "classify", picture, "--labels", LABELS]
        commands = {
            "anmok, anmok-mini": anmok,
            "anmok, the same CLIP": [*anmok, "--model", str(folder)],
            "transformers pipeline": [sys.executable, "-c", PIPELINE, str(folder), picture, LABELS, HERE],
            "anmok --help": [sys.executable, "-m", "anmok", "--help"],
        }
        taken: dict[str, list[tuple[float, float]]] = {who: [] for who in commands}
        for turn in range(1 + options.rounds):
            for who, command in commands.items():
                found = run(command)
                if turn:
                    taken[who].append(found)
        mini = sum(array.size for array in load_checkpoint("anmok-mini").weights.values())
        print(f"anmok-mini {mini / 1e6:.1f}M parameters, the CLIP {parameters() / 1e6:.1f}M")
    timings = {who: Timing(tuple(seconds for seconds, _ in found)) for who, found in taken.items()}
    rows = []
    for name, timing in timings.items():
        peak = max(megabytes for _, megabytes in taken[name])
        print(f"{name:<24} {timing}, at most {peak:.0f} MB of memory")
        rows.append({"who": name, "seconds": timing.seconds, "memory_mb": peak})
    keep("first_answer", {"rows": rows})
    for name in ("anmok, anmok-mini", "anmok, the same CLIP"):
        median, low, high = ratios(timings[name], timings["transformers pipeline"])
        print(f"{name} answers {median:.1f} times sooner than the pipeline ({low:.1f}–{high:.1f})")


SPEC = DualSpec(
    image=VitSpec(
        image_size=96, patch_size=16, width=256, layers=6, heads=4, mlp_width=1024, activation="quick_gelu",
        pool="cls", class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
    ),
    text=TextSpec(
        vocabulary=49408, context_length=77, width=128, layers=3, heads=4, mlp_width=512, activation="quick_gelu",
        causal=True, pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=49407, pad_token=49407,
    ),
    dimension=256,
    score="softmax",
)  # fmt: skip


def small_clip() -> Checkpoint:
    torch.manual_seed(0)
    weights = {name: value.numpy() for name, value in DualEncoder(SPEC).state_dict().items()}
    transform = Transform(
        size=(96, 96), resize="shortest", interpolation="bicubic", crop=True,
        mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711),
    )  # fmt: skip
    return Checkpoint(name="small CLIP", spec=SPEC, weights=weights, transform=transform, tokenizer=Tokenizer.clip())


def parameters() -> int:
    return sum(parameter.numel() for parameter in DualEncoder(SPEC).parameters())


def run(command: list[str]) -> tuple[float, float]:
    """Seconds that it took, and the most memory that it held, in MB."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    between = [sys.executable, "-S", "-c", BETWEEN, *command]
    done = subprocess.run(between, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    seconds, kilobytes = done.stdout.split()
    return float(seconds), float(kilobytes) / 1e3


if __name__ == "__main__":
    main()
