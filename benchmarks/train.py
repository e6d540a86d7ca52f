"""One training step beside open_clip's own, on the same model, the same weights and the same data in memory.

    python benchmarks/train.py [--models ViT-B-32 …] [--batch 32] [--rounds 5] [--device auto]

A step is forward, loss, backward, AdamW. open_clip gets normalized pixels and ids padded to 77, as its loader makes
them; anmok gets bytes, which it normalizes itself, and ids as long as the longest text of the batch. Both run with
every core, in fp32 and in bfloat16 under autocast, and take turns in one process. Peak memory is that of a process of
its own for each. On a GPU the share of the device's peak that the matrix products of the model use is printed too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from references import declare_operators
from timing import machine, ratios, take_turns

from anmok.checkpoints.open_clip import to_open_clip
from anmok.models.modules import DualEncoder
from anmok.models.sizes import SIZES
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec, VitSpec
from anmok.texts import Tokenizer
from anmok.train.losses import clamp_scale, softmax_loss
from anmok.train.objective import Towers
from anmok.train.optimizer import adamw
from anmok.train.recipe import OptimizerConfig

if TYPE_CHECKING:
    from collections.abc import Callable

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TEXT = TextSpec(
    vocabulary=49408, context_length=77, width=256, layers=4, heads=4, mlp_width=1024, activation="gelu",
    causal=True, pool="eos", norm_eps=1e-5, projection_bias=False, eos_token=49407, pad_token=0,
)  # fmt: skip
SMALL_VIT = VitSpec(
    image_size=96, patch_size=16, width=256, layers=8, heads=4, mlp_width=1024, activation="gelu", pool="cls",
    class_token=True, pre_norm=True, patch_bias=False, norm_eps=1e-5, projection=True,
)  # fmt: skip
MODELS = {
    "small ViT, 96 px": DualSpec(SMALL_VIT, TEXT, 256, "softmax"),
    "small ResNet, 96 px": DualSpec(ResNetSpec(96, 24, (2, 2, 4, 2), 12), TEXT, 256, "softmax"),
    "ViT-B-32": SIZES["ViT-B-32"],
    "ViT-B-16": SIZES["ViT-B-16"],
}
TEXT_OF_WORDS = "a small red bag lies on the wooden table beside two cups of hot coffee and an old book about birds"
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bfloat16, by the makers' data sheets


def main() -> None:
    declare_operators()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS)[:3], choices=list(MODELS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--memory-of", nargs=3, metavar=("WHO", "MODEL", "PRECISION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        who, model, precision = options.memory_of
        step = steps(MODELS[model], options.batch, torch.device(options.device), precision, only=who)[who]
        step(), step()
        print(json.dumps(peak_memory(options.device)))
        return
    print(machine())
    print("| model | precision | who | pairs/s | peak memory | anmok is faster by |")
    print("| --- | --- | --- | ---: | ---: | --- |")
    for model in options.models:
        for precision in ("fp32", "bf16"):
            measure(model, precision, options)


def measure(model: str, precision: str, options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    runs = steps(MODELS[model], options.batch, device, precision)
    timings = take_turns(runs, rounds=options.rounds)
    for who, timing in timings.items():
        command = [sys.executable, __file__, "--memory-of", who, model, precision, "--batch", str(options.batch)]
        told = subprocess.run([*command, "--device", options.device], capture_output=True, text=True, check=True)
        megabytes = json.loads(told.stdout.splitlines()[-1])
        speed = options.batch / timing.median
        versus = ""
        if who != "anmok":
            median, low, high = ratios(timings["anmok"], timing)
            versus = f"{median:.2f} times ({low:.2f}–{high:.2f})"
        name = f"{model}, batch {options.batch}"
        print(f"| {name} | {precision} | {who} | {speed:,.1f} | {megabytes:,.0f} MB | {versus} |", flush=True)
        if device.type == "cuda" and who == "anmok":
            print(f"  {utilization(MODELS[model], speed, device):.0%} of the device's peak", flush=True)


def steps(
    spec: DualSpec, batch: int, device: torch.device, precision: str, *, only: str = ""
) -> dict[str, Callable[[], float]]:
    """One training step of each (or of one alone), first checked to give the same loss."""
    random = np.random.default_rng(0)
    side = spec.image.image_size
    pixels = torch.from_numpy(random.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)).to(device)
    words = TEXT_OF_WORDS.split()
    texts = [" ".join(random.choice(words, random.integers(6, 22))) for _ in range(batch)]
    tokenizer = Tokenizer.clip()
    runs: dict[str, Callable[[], float]] = {}
    if only != "anmok":
        torch.manual_seed(0)
        theirs = open_clip_model(spec, DualEncoder(spec)).to(device)
        adam = torch.optim.AdamW(theirs.parameters(), lr=1e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.1)
        padded = torch.from_numpy(tokenizer(texts, trim=False)).to(device)
        runs["open_clip"] = partial(their_step, theirs, adam, normalized(pixels), padded, precision)
    if only != "open_clip":
        torch.manual_seed(0)
        ids = torch.from_numpy(tokenizer(texts)).to(device)
        runs["anmok"] = partial(our_step, *ours(DualEncoder(spec), device), pixels, ids, precision)
    if not only and abs(runs["anmok"]() - runs["open_clip"]()) > (1e-3 if precision == "fp32" else 0.05):
        raise SystemExit("the losses are not the same: the comparison would be unfair")
    return dict(sorted(runs.items()))


def ours(model: DualEncoder, device: torch.device) -> tuple[Towers, torch.optim.Optimizer]:
    model = model.to(device).to(memory_format=torch.channels_last).train()
    return Towers(model, MEAN, STD).to(device), adamw(model, OptimizerConfig(lr=1e-6))


def our_step(
    towers: Towers, optimizer: torch.optim.Optimizer, pixels: torch.Tensor, ids: torch.Tensor, precision: str
) -> float:
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == "bf16"):
        pictures, texts = towers(pixels, ids, torch.arange(len(ids), device=ids.device))
    loss = softmax_loss(pictures, texts, towers.model.logit_scale.exp())
    loss.backward()
    optimizer.step()
    clamp_scale(towers.model.logit_scale)
    return loss.item()


def their_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: torch.Tensor,
    ids: torch.Tensor,
    precision: str,
) -> float:
    """As open_clip 3.3's `train_one_epoch` with one process and accum_freq 1."""
    from open_clip.loss import ClipLoss

    optimizer.zero_grad()
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=precision == "bf16"):
        pictures, texts, scale = model(pixels, ids)[:3]
        loss = ClipLoss()(pictures, texts, scale)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, np.log(100))
    return loss.item()


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(x, device=pixels.device).view(1, 3, 1, 1) for x in (MEAN, STD))
    return ((pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std).contiguous()


def open_clip_model(spec: DualSpec, model: DualEncoder) -> torch.nn.Module:
    """open_clip's CLIP of the same spec and weights, in train mode."""
    from open_clip.model import CustomTextCLIP

    from anmok.checkpoints.open_clip import config_of

    config = config_of(spec)
    config.pop("custom_text")
    theirs = CustomTextCLIP(**config).train()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    arrays = to_open_clip(spec, weights)
    names = {
        f"text.{name}"
        if name.startswith(("token_emb", "positional", "transformer.", "ln_final", "text_proj"))
        else name
        for name in arrays
    }
    renamed = {name: arrays[name] if name in arrays else arrays[name.removeprefix("text.")] for name in names}
    theirs.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in renamed.items()}, strict=False)
    return theirs


def peak_memory(device: str) -> float:
    """MB, of this process since it was started (a child's `ru_maxrss` begins at its parent's)."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def utilization(spec: DualSpec, pairs_per_s: float, device: torch.device) -> float:
    """Model FLOPs (PaLM, arXiv 2204.02311, appendix B): three times the forward's matrix products, none recomputed."""
    from torch.utils.flop_counter import FlopCounterMode

    model = DualEncoder(spec)
    side = spec.image.image_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode_image(torch.zeros(1, 3, side, side))
        model.encode_text(torch.zeros(1, 24, dtype=torch.long))
    name = torch.cuda.get_device_name(device)
    peak = next((flops for part, flops in PEAK_FLOPS.items() if part in name), float("nan"))
    return 3 * counter.get_total_flops() * pairs_per_s / peak


if __name__ == "__main__":
    main()
