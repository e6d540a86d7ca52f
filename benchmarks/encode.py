"""Encoding beside transformers and open_clip: same weights, same pictures, one run.

    python benchmarks/encode.py [--models ViT-B-32 ViT-B-16] [--rounds 7]

Each model has random weights (speed does not depend on them), written once in open_clip's layout
and once in Hugging Face's, so that all three load the very same numbers. Input is ready pixels and
token ids: reading pictures is not part of it. All use every core, in fp32.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from references import declare_operators
from timing import machine, ratios, take_turns

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.models.modules.dual import DualEncoder
from anmok.models.sizes import SIZES
from anmok.pictures import Transform, normalize
from anmok.runtime import open_towers
from anmok.texts import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
TEXTS = [
    f"a photo of a {noun}, taken in the {place}"
    for noun in ("cat", "red bag", "paper cup", "bicycle")
    for place in ("street", "kitchen", "snow", "shop", "garden", "rain", "office", "market")
]


def main() -> None:
    declare_operators()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "ViT-B-16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(machine())
    print(f"{'model':<10} {'what':<8} {'batch':>5}  {'who':<13} {'median (min–max)':<32} ours is faster by")
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            measure(name, Path(folder), options.batches, options.rounds)


def measure(name: str, folder: Path, batches: list[int], rounds: int) -> None:
    checkpoint = random_checkpoint(name, folder)
    pictures = np.random.default_rng(0).integers(0, 256, (max(batches), 224, 224, 3), dtype=np.uint8)
    pixels = torch.from_numpy(normalize(pictures, checkpoint.transform))
    image, text = candidates(name, checkpoint, folder)
    for batch in batches:
        runs = {who: partial(run, pictures[:batch], pixels[:batch]) for who, run in image.items()}
        report(name, "image", batch, runs, rounds)
    for batch in batches:
        report(name, "text", batch, {who: partial(run, TEXTS[:batch]) for who, run in text.items()}, rounds)


def random_checkpoint(name: str, folder: Path) -> Checkpoint:
    """A CLIP of the given size with random weights, saved as transformers reads it."""
    torch.manual_seed(0)
    spec = SIZES[name]
    weights = {key: value.numpy() for key, value in DualEncoder(spec).state_dict().items()}
    transform = Transform(
        size=(224, 224), resize="shortest", interpolation="bicubic", crop=True, mean=CLIP_MEAN, std=CLIP_STD
    )
    checkpoint = Checkpoint(name=name, spec=spec, weights=weights, transform=transform, tokenizer=Tokenizer.clip())
    save_checkpoint(checkpoint, folder / "hf")
    return load_checkpoint(folder / "hf")


def candidates(name: str, checkpoint: Checkpoint, folder: Path) -> tuple[dict[str, Callable], dict[str, Callable]]:
    """Image and text encoders of the three, by name. Each is first checked to give the same embedding."""
    ours = open_towers(checkpoint)
    tokenizer = checkpoint.tokenizer
    hf = hugging_face(folder / "hf")
    oc = open_clip_model(name, checkpoint)

    def in_torch(run: Callable) -> Callable:
        def wrapped(*arguments: object) -> np.ndarray:
            with torch.inference_mode():
                return run(*arguments).numpy()

        return wrapped

    def padded(texts: list[str]) -> torch.Tensor:
        return torch.from_numpy(tokenizer(texts, trim=False))

    image = {
        "anmok": lambda pictures, pixels: ours.image(pictures),
        "transformers": in_torch(lambda pictures, pixels: features(hf.get_image_features(pixel_values=pixels))),
        "open_clip": in_torch(lambda pictures, pixels: oc.encode_image(pixels)),
    }
    text = {
        "anmok": lambda texts: ours.text(tokenizer(texts)),
        "transformers": in_torch(lambda texts: features(hf.get_text_features(input_ids=padded(texts)))),
        "open_clip": in_torch(lambda texts: oc.encode_text(padded(texts))),
    }
    same(
        image,
        np.zeros((2, 224, 224, 3), np.uint8),
        torch.from_numpy(normalize(np.zeros((2, 224, 224, 3), np.uint8), checkpoint.transform)),
    )
    same(text, TEXTS[:3])
    return image, text


def features(output: object) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def same(candidates: dict[str, Callable], *arguments: object) -> None:
    results = {who: run(*arguments) for who, run in candidates.items()}
    for who, result in results.items():
        worst = np.abs(result - results["anmok"]).max()
        if worst > 1e-4:
            raise SystemExit(f"{who} does not give the same embedding ({worst:.1e}): the comparison would be unfair")


def hugging_face(folder: Path) -> torch.nn.Module:
    from transformers import CLIPModel

    return CLIPModel.from_pretrained(folder).eval()


def open_clip_model(name: str, checkpoint: Checkpoint) -> torch.nn.Module:
    """open_clip's model of that size with the checkpoint's weights."""
    import open_clip

    from anmok.checkpoints.open_clip import to_open_clip

    model = open_clip.create_model(name).eval()
    arrays = to_open_clip(checkpoint.spec, checkpoint.weights)
    model.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}, strict=True)
    return model


def report(name: str, what: str, batch: int, runs: dict[str, Callable], rounds: int) -> None:
    timings = take_turns(runs, rounds=rounds)
    for who, timing in timings.items():
        versus = ""
        if who != "anmok":
            median, low, high = ratios(timings["anmok"], timing)
            versus = f"{median:.2f} times ({low:.2f}–{high:.2f})"
        print(f"{name:<10} {what:<8} {batch:>5}  {who:<13} {timing!s:<32} {versus}", flush=True)


if __name__ == "__main__":
    main()
