"""Train anmok-mini, the model inside the package.

What      CLIP's two towers, small: ModifiedResNet at 96 pixels, causal text transformer, English and Korean.
Data      a folder with `train/*.tar`, WebDataset shards of `KEY.webp` and `KEY.json` (17,716 pictures; the model
          card lists sources and licenses), and about 17,000 pictures drawn here with exact captions.
Command   pip install "anmok[train]"; pip download --no-deps koreanize-matplotlib  (unzip it for NanumGothic.ttf)
          python recipes/anmok_mini.py --data DATA --font NanumGothic.ttf --output anmok-mini
          Run it again after an interruption: it goes on from the last saved state in --work.
          To ship it, put the folder in its place in the package, then encode what scores are measured against:
          python -c "import anmok, anmok.scores; anmok.scores.ship_background(anmok.load('anmok-mini'))"
Hardware  two shared cores of an AMD EPYC (Zen 4, AVX-512 with bfloat16), about 3 GB of memory; no GPU.
Time      74 minutes of steps (1 second each at 64 pixels, 1.4 at 96), 3,578 steps, 916,000 samples.
Result    zero-shot by text on held-out data, English / Korean, in %: clothing 64.7 / 66.3, groceries 51.6 / 49.1 (43
          kinds: 67.0 / 63.9), waste 79.6 / 79.2, Fashion-MNIST 79.0 / 80.0, scikit-learn's digits 88.6 / 89.1;
          text to picture recall@10: emoji 29.0 / 27.7, textbooks 5.1 (chance 1), picture books 8.0 / 9.6 (chance 8).
          17.7 MB, 2.5 ms per picture on one of these cores at batch 32 (ONNX Runtime, fp32).
Note      Two changes were made while the shipped weights trained. At 14 minutes: stronger colors, closer crops of
          groceries, gray patches. At 46: before, a batch held less of textbooks and emoji (14 and 18%, not 23 and
          21%), captions were never thinned and textbook pictures never gray.
Loss      softmax after 86,000 samples beside sigmoid (SigLIP) after 97,000, both early in the same schedule; held-out
          pictures of the training shards whose right text comes first, in %: groceries 46 beside 31, emoji 15 / 6,
          digits 33 / 28, scenes 12 / 5, Fashion-MNIST 78 / 61, clothing 36 / 47, waste 43 / 50. One run each.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from anmok.checkpoints import Checkpoint, save_checkpoint
from anmok.doctor.checkpoint import write_golden
from anmok.loading import load
from anmok.models.modules import DualEncoder
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec
from anmok.pictures import Transform
from anmok.texts import Tokenizer
from anmok.train.pairs import Pairs, drawn_pairs, pack, read_pairs
from anmok.train.tokenizer import train_tokenizer

IMAGE = ResNetSpec(image_size=96, width=24, layers=(2, 2, 4, 2), heads=12)
CONTEXT, VOCABULARY, DIMENSION = 32, 8192, 256
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, of pixels 0..1
STD = (0.26862954, 0.26130258, 0.27577711)
WEIGHTS = {  # share of each source in a batch
    "grocery": 14, "clothing": 12, "trashnet": 7, "fashion_mnist": 5, "emoji": 21, "openstax": 23, "storybook": 7,
    "flags": 1.5, "recipes": 1, "digits": 4, "scenes": 3, "words": 1.5,
}  # fmt: skip
MIRRORED = {"grocery", "clothing", "trashnet", "fashion_mnist", "emoji", "openstax", "storybook", "recipes"}
PHOTOGRAPHS = {"grocery", "clothing", "trashnet", "openstax"}
ZOOM = {  # smallest and largest share of a side that is seen
    "grocery": (0.5, 1.0), "openstax": (0.55, 1.0), "storybook": (0.55, 1.0), "emoji": (0.75, 1.15),
    "flags": (0.8, 1.05), "fashion_mnist": (0.8, 1.1), "digits": (0.88, 1.04), "scenes": (0.92, 1.08),
    "words": (0.95, 1.1),
}  # fmt: skip
TURN = {"trashnet": 25.0, "grocery": 12.0, "clothing": 12.0, "emoji": 10.0}  # degrees
TEXT = {"width": 256, "layers": 3, "heads": 4, "mlp_width": 1024}


def main() -> None:
    arguments = parse()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    work = arguments.work
    if not (work / "pairs.json").exists():
        prepare(arguments)
    pairs = Pairs(work, WEIGHTS)
    tokenizer = train_tokenizer(pairs.texts(), work, vocabulary=VOCABULARY, context_length=CONTEXT)
    spec = spec_for(tokenizer, arguments.loss)
    train(arguments, pairs, tokenizer, spec)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with train/*.tar (WebDataset)")
    parser.add_argument("--font", type=Path, help="a font with Hangul, for drawn Korean words")
    parser.add_argument("--output", type=Path, required=True, help="folder for the finished checkpoint")
    parser.add_argument("--work", type=Path, default=Path("anmok-mini-work"), help="packed pictures and the state")
    parser.add_argument("--minutes", type=float, default=74, help="training time; the schedule follows it")
    parser.add_argument("--small", type=float, default=0.34, help="share of the time at 64 instead of 96 pixels")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay")
    parser.add_argument("--loss", choices=["softmax", "sigmoid"], default="softmax")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def prepare(arguments: argparse.Namespace) -> None:
    """Decode, draw and pack all pictures; takes about a minute."""
    found = list(read_pairs(arguments.data / "train"))
    short = dict.fromkeys(
        (pair.english[0], pair.korean[0])
        for pair, _ in found
        if pair.source == "emoji" and len(pair.english[0]) <= 12 and pair.korean and len(pair.korean[0]) <= 6
    )
    drawn = drawn_pairs(
        arguments.seed, digits=8000, scenes=6000, words=list(short)[:500], copies=3, font=arguments.font
    )
    pack((row for rows in (found, drawn) for row in rows), arguments.work)


def spec_for(tokenizer, score: str) -> DualSpec:
    size = tokenizer.get_vocab_size()
    text = TextSpec(
        vocabulary=size, context_length=CONTEXT, **TEXT, activation="gelu", causal=True, pool="eos", norm_eps=1e-5,
        projection_bias=False, eos_token=size - 1, pad_token=0,
    )  # fmt: skip
    return DualSpec(IMAGE, text, DIMENSION, score)


# --- pictures and texts of one step -----------------------------------------------------------


def augment(pairs: Pairs, indices: np.ndarray, rng: np.random.Generator, side: int) -> torch.Tensor:
    """Pictures turned, zoomed, shifted, mirrored and tinted; float32 [n, 3, side, side], normalized."""
    n = len(indices)
    sources = [pairs.pairs[index].source for index in indices]
    low, high = np.array([ZOOM.get(source, (0.65, 1.0)) for source in sources]).T
    zoom = low + (high - low) * rng.random(n)
    stretch = np.exp(rng.normal(0, 0.08, n))
    angle = np.radians([TURN.get(source, 5.0) for source in sources]) * rng.uniform(-1, 1, n)
    mirror = np.where(np.array([source in MIRRORED for source in sources]) & (rng.random(n) < 0.5), -1.0, 1.0)
    wide, tall = zoom * stretch, zoom / stretch
    theta = np.zeros((n, 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = np.cos(angle) * wide * mirror, -np.sin(angle) * wide
    theta[:, 1, 0], theta[:, 1, 1] = np.sin(angle) * tall * mirror, np.cos(angle) * tall
    for axis, size in enumerate((wide, tall)):
        theta[:, axis, 2] = rng.uniform(-1, 1, n) * np.abs(1 - size)
    pixels = torch.from_numpy(pairs.pictures[indices]).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.from_numpy(theta).float(), [n, 3, side, side], align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False) / 255
    gray = torch.from_numpy(np.isin(sources, ["openstax", "storybook"]) & (rng.random(n) < 0.25))
    pixels[gray] = pixels[gray].mean(dim=1, keepdim=True)  # old photographs and engravings have no color
    gain = torch.from_numpy(np.exp(rng.normal(0, 0.15, (n, 1, 1, 1)) + rng.normal(0, 0.06, (n, 3, 1, 1)))).float()
    shift = torch.from_numpy(rng.normal(0, 0.07, (n, 1, 1, 1))).float()
    middle = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = ((pixels - middle) * gain + middle + shift).clamp(0, 1)
    for row in np.flatnonzero(np.isin(sources, list(PHOTOGRAPHS)) & (rng.random(n) < 0.3)):  # a gray patch hides a part
        high, wide = (rng.uniform(0.15, 0.45, 2) * side).astype(int)
        top, left = rng.integers(0, side - high), rng.integers(0, side - wide)
        pixels[row, :, top : top + high, left : left + wide] = middle[row]
    return normalize(pixels)


def normalize(pixels: torch.Tensor) -> torch.Tensor:
    pixels = (pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    return pixels.to(memory_format=torch.channels_last)


def plain(pairs: Pairs, indices: np.ndarray, side: int = 96) -> torch.Tensor:
    """Pictures as the finished model sees them."""
    pixels = torch.from_numpy(pairs.pictures[np.asarray(indices)]).permute(0, 3, 1, 2).float()
    pixels = F.interpolate(pixels, (side, side), mode="bicubic", antialias=True).clamp(0, 255) / 255
    return normalize(pixels)


def encode_pictures(model: DualEncoder, pixels: torch.Tensor) -> torch.Tensor:
    """Unit vectors; for pictures smaller than the model's the position embedding is resized."""
    tower, cells = model.image, pixels.shape[-1] // 32
    if cells == IMAGE.grid:
        return F.normalize(tower(pixels).float(), dim=-1)
    x = tower.stem(pixels)
    for stage in tower.stages:
        for block in stage:
            x = block(x)
    mean, grid = tower.pool.position_embedding[:1], tower.pool.position_embedding[1:]
    grid = grid.T.reshape(1, -1, IMAGE.grid, IMAGE.grid)
    grid = F.interpolate(grid, (cells, cells), mode="bilinear", align_corners=False, antialias=True)
    position = torch.cat([mean, grid.flatten(2)[0].T])
    x = torch.func.functional_call(tower.pool, {"position_embedding": position}, (x,))
    return F.normalize(x.float(), dim=-1)


def encode_texts(model: DualEncoder, tokenizer, texts: list[str]) -> torch.Tensor:
    """Unit vectors; short and long texts apart, so that short ones are not padded to long ones."""
    ids = [encoding.ids[: CONTEXT - 1] + encoding.ids[-1:] if len(encoding.ids) > CONTEXT else encoding.ids
           for encoding in tokenizer.encode_batch(texts)]  # fmt: skip
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    vectors = []
    for part in np.array_split(order, max(1, min(4, len(order) // 32))):
        table = torch.zeros(len(part), max(len(ids[i]) for i in part), dtype=torch.long)
        for row, i in enumerate(part):
            table[row, : len(ids[i])] = torch.tensor(ids[i])
        vectors.append(model.encode_text(table).float())
    back = torch.from_numpy(np.argsort(order))
    return F.normalize(torch.cat(vectors)[back], dim=-1)


# --- loss and loop ---------------------------------------------------------------------------


def loss_of(model: DualEncoder, pictures: torch.Tensor, texts: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """CLIP's softmax both ways with equal shares to all true pairs, or SigLIP's sigmoid per pair."""
    logits = pictures @ texts.T * model.logit_scale.clamp(max=math.log(100)).exp()
    if model.spec.logit_bias:
        sign = truth * 2.0 - 1.0
        return -F.logsigmoid(sign * (logits + model.logit_bias)).sum() / len(pictures)
    rows = -(F.log_softmax(logits, dim=1) * truth).sum(1) / truth.sum(1)
    columns = -(F.log_softmax(logits, dim=0) * truth).sum(0) / truth.sum(0)
    return (rows.mean() + columns.mean()) / 2


def train(arguments: argparse.Namespace, pairs: Pairs, tokenizer, spec: DualSpec) -> None:
    model = DualEncoder(spec).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).eval()  # exponential moving average of the weights: what is shipped
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": arguments.decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=arguments.rate, betas=(0.9, 0.98), foreach=True)
    state = {"step": 0, "samples": 0, "seconds": 0.0}
    saved = arguments.work / f"state-{arguments.loss}.pt"
    if saved.exists():
        old = torch.load(saved, weights_only=True)
        model.load_state_dict(old["model"])
        average.load_state_dict(old["average"])
        optimizer.load_state_dict(old["optimizer"])
        state = old["state"]
    rng = np.random.default_rng((arguments.seed, state["step"]))
    helper = ThreadPoolExecutor(1)  # makes the next batch while this one is learned from
    upcoming = helper.submit(batch, pairs, rng, arguments.batch, 64 if arguments.small else 96)
    losses: list[float] = []
    reported = state["seconds"]
    while (progress := state["seconds"] / (arguments.minutes * 60)) < 1:
        started = time.monotonic()
        rate = (
            arguments.rate * min(1, (state["step"] + 1) / 200) * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        side = 64 if progress < arguments.small else 96
        current = upcoming.result()
        upcoming = helper.submit(batch, pairs, rng, arguments.batch, side)
        losses.append(step(model, tokenizer, optimizer, *current))
        state["step"] += 1
        follow(average, model, min(0.998, (1 + state["step"]) / (20 + state["step"])))
        state["samples"] += arguments.batch
        state["seconds"] += time.monotonic() - started
        if state["seconds"] - reported > 240:
            reported = state["seconds"]
            report(state, losses, average, pairs, tokenizer, rate, side)
            losses = []
            keep = {"model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**keep, "state": state}, saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)
    report(state, losses, average, pairs, tokenizer, 0.0, 96)
    save(average, arguments)


def save(model: DualEncoder, arguments: argparse.Namespace) -> None:
    """Half precision, in open_clip's layout, with what `anmok doctor` compares with."""
    checkpoint = Checkpoint(
        name=arguments.output.name,
        spec=model.spec,
        weights={name: array.detach().float().numpy() for name, array in model.state_dict().items()},
        transform=Transform(size=(96, 96), resize="squash", interpolation="bicubic", mean=MEAN, std=STD),
        tokenizer=Tokenizer.from_folder(arguments.work, context_length=CONTEXT, clean="whitespace", trims=True),
    )
    save_checkpoint(checkpoint, arguments.output, precision="fp16", layout="open_clip")
    write_golden(load(arguments.output), arguments.output)


def batch(
    pairs: Pairs, rng: np.random.Generator, count: int, side: int
) -> tuple[torch.Tensor, list[str], torch.Tensor]:
    """Pictures, their texts (each different text once) and which is true of which."""
    indices = pairs.draw(rng, count)
    captions: dict[str, set[str]] = {}  # text → what it was made from
    for index in indices:
        text, base = pairs.caption(rng, index)
        captions.setdefault(text, set()).add(base)
    truth = torch.from_numpy(pairs.truth(indices, list(captions.values()))).float()
    return augment(pairs, indices, rng, side), list(captions), truth


def step(model, tokenizer, optimizer, pixels: torch.Tensor, captions: list[str], truth: torch.Tensor) -> float:
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        pictures = encode_pictures(model, pixels)
        texts = encode_texts(model, tokenizer, captions)
    loss = loss_of(model, pictures, texts, truth)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@torch.no_grad()
def follow(average: DualEncoder, model: DualEncoder, decay: float) -> None:
    ours, theirs = list(average.state_dict().values()), list(model.state_dict().values())
    torch._foreach_lerp_(ours, theirs, 1 - decay)


@torch.no_grad()
def report(state, losses, average, pairs: Pairs, tokenizer, rate: float, side: int) -> None:
    """Pictures of the shards that are never drawn: is a right text first, in the first ten, of those of its source?"""
    found = {}
    for source in pairs.weights:
        rows = pairs.held_out(source)[:100]
        names = list(dict.fromkeys(pairs.pairs[row].english[0] for row in rows))
        with torch.autocast("cpu", torch.bfloat16):
            scores = encode_pictures(average, plain(pairs, rows, side)) @ encode_texts(average, tokenizer, names).T
        truth = torch.from_numpy(pairs.truth(rows, [{name} for name in names]))
        best = scores.topk(min(10, len(names)), dim=1).indices
        hit = truth.gather(1, best)
        found[source] = f"{hit[:, 0].float().mean():.2f}/{hit.any(1).float().mean():.2f}({len(names)})"
    log = {"minutes": round(state["seconds"] / 60, 1), "step": state["step"], "samples": state["samples"],
           "loss": round(float(np.mean(losses)), 3), "rate": f"{rate:.1e}", "side": side,
           "scale": round(float(average.logit_scale.exp()), 1)}  # fmt: skip
    print(json.dumps({**log, "held out": found}), flush=True)


if __name__ == "__main__":
    main()
