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
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

import torch
from timing import keep, machine, ratios, take_turns

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.models.modules.dual import DualEncoder
from anmok.models.spec import DualSpec, TextSpec, VitSpec
from anmok.pictures import Transform
from anmok.texts import Tokenizer

LABELS = "cat,dog,car"
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
        peaks = dict.fromkeys(commands, 0.0)
        timings = take_turns(
            {who: partial(run, who, command, peaks) for who, command in commands.items()}, rounds=options.rounds
        )
        mini = sum(array.size for array in load_checkpoint("anmok-mini").weights.values())
        print(f"anmok-mini {mini / 1e6:.1f}M parameters, the CLIP {parameters() / 1e6:.1f}M")
    rows = []
    for name, timing in timings.items():
        print(f"{name:<24} {timing}, at most {peaks[name]:.0f} MB of memory")
        rows.append({"who": name, "seconds": timing.seconds, "memory_mb": peaks[name]})
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


def run(who: str, command: list[str], peaks: dict[str, float]) -> None:
    """Run it to its end; note the most memory that it held."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{who} failed: {' '.join(command)}")
    peaks[who] = max(peaks[who], usage.ru_maxrss / 1e3)


if __name__ == "__main__":
    main()
