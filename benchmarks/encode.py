"""Encoding beside transformers and open_clip: same weights, same input, one run, every way that anmok has.

    python benchmarks/encode.py [--models ViT-B-32 ViT-B-16] [--batches 1 32] [--rounds 5]

Each model has random weights (speed does not depend on them), written once in Hugging Face's layout and given to
open_clip, so that all load the very same numbers. Input is ready pixels and token ids: reading pictures is not part of
it. All use every core. What a processor can do at most is measured in the same run, as products of large matrices, and
each way is also shown as a share of that. (Whether a way is near enough to fp32 depends on the weights: that is judged
per checkpoint, not here.)
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from references import declare_operators
from timing import Timing, keep, machine, ratios, take_turns

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.models.graphs import Graph
from anmok.models.modules.dual import DualEncoder
from anmok.models.sizes import SIZES
from anmok.pictures import Transform, normalize
from anmok.runtime import openvino
from anmok.runtime.choice import EXACT, Way, open_tower, ways
from anmok.runtime.onnxruntime import open_session
from anmok.texts import Tokenizer
from anmok.texts.templates import TEMPLATES, prompts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anmok.runtime.trial import Session

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MANY = 100  # labels
NOUNS = ("cat", "red bag", "paper cup", "bicycle", "straw hat", "tea pot", "violin", "old map", "lamp", "wool sock")


def main() -> None:
    declare_operators()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["ViT-B-32", "ViT-B-16"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--labels", nargs="+", type=int, default=[10], help="of the texts, each in 80 templates; first model only"
    )
    options = parser.parse_args()
    print(machine())
    limits = product_limits()
    print("matrix products, GFLOP/s: " + ", ".join(f"{name} {limit:.0f}" for name, limit in limits.items()))
    seen, read = [], []
    for name in options.models:
        with tempfile.TemporaryDirectory() as folder:
            models = Models(name, Path(folder))
            for batch in options.batches:
                seen += pictures(models, batch, options.rounds, limits)
        for labels in sorted(options.labels) if name == options.models[0] else []:
            best = max(read, key=lambda row: row["times"])["who"] if read and labels > MANY else None
            read += texts(models, labels, best)
    keep("encode", {"limits": limits, "pictures": seen, "texts": read})


# --- what the processor can do


def product_limits() -> dict[str, float]:
    """Billions of operations per second of the best library for a product as large as a layer of a batch."""
    a, b = torch.randn(1600, 768), torch.randn(768, 3072)
    plain, rounded, feed, bytes_in = product(a.numpy(), b.numpy())
    runs: dict[str, list[Callable[[], object]]] = {
        "fp32": [lambda: a @ b, in_session(open_session(plain), feed)],
        "bf16": [partial(torch.matmul, a.bfloat16(), b.bfloat16())],
        "int8": [in_session(open_session(rounded), bytes_in)],
    }
    if openvino.installed():
        runs["fp32"].append(in_session(openvino.OpenVinoSession(plain), feed))
        runs["int8"].append(in_session(openvino.OpenVinoSession(rounded), bytes_in))
        if openvino.has_bf16():
            runs["bf16"].append(in_session(openvino.OpenVinoSession(plain, bf16=True), feed))
    operations = 2 * a.shape[0] * a.shape[1] * b.shape[1]
    found = {}
    for name, several in runs.items():
        timings = take_turns({str(i): run for i, run in enumerate(several)}, rounds=15)
        found[name] = operations / min(min(timing.seconds) for timing in timings.values()) / 1e9
    return found


def product(a: np.ndarray, b: np.ndarray) -> tuple[Graph, Graph, dict, dict]:
    """x @ b as a graph, in float32 and from bytes; and what goes in."""
    weights = np.clip(b * 30, -127, 127).astype(np.int8)
    one, middle, zero = np.array(1 / 30, np.float32), np.array(128, np.uint8), np.array(0, np.int8)
    plain = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    in_bytes = {"w": weights, "scale": one, "middle": middle, "zero": zero}
    steps = [
        helper.make_node("DequantizeLinear", ["x", "scale", "middle"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["wf"]),
        helper.make_node("MatMul", ["xf", "wf"], ["yf"]),
        helper.make_node("QuantizeLinear", ["yf", "scale", "middle"], ["y"]),  # so that what comes out is bytes, too
    ]

    def graph(nodes: list, kind: int, out: int, given: dict[str, np.ndarray]) -> Graph:
        inputs = [helper.make_tensor_value_info("x", kind, a.shape)]
        outputs = [helper.make_tensor_value_info("y", out, (a.shape[0], b.shape[1]))]
        made = helper.make_graph(
            nodes, "product", inputs, outputs, [numpy_helper.from_array(v, k) for k, v in given.items()]
        )
        return Graph(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), {})

    float_graph = graph(plain, TensorProto.FLOAT, TensorProto.FLOAT, {"w": b})
    byte_graph = graph(steps, TensorProto.UINT8, TensorProto.UINT8, in_bytes)
    return float_graph, byte_graph, {"x": a}, {"x": np.clip(a * 30 + 128, 0, 255).astype(np.uint8)}


def in_session(session: Session, feed: dict) -> Callable[[], object]:
    return lambda: session.run(["y"], feed)


# --- models


class Models:
    """One checkpoint in anmok, and its twins elsewhere."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.checkpoint = random_checkpoint(name, folder)
        self.open_clip = open_clip_model(name, self.checkpoint)
        self.transformers = hugging_face(folder / "hf")


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


# --- pictures


def pictures(models: Models, batch: int, rounds: int, limits: dict[str, float]) -> list[dict[str, object]]:
    raw = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
    pixels = torch.from_numpy(normalize(raw, models.checkpoint.transform))
    runs: dict[str, Callable[[], np.ndarray]] = {
        "open_clip fp32": in_torch(lambda: models.open_clip.encode_image(pixels)),
        "transformers fp32": in_torch(lambda: features(models.transformers.get_image_features(pixel_values=pixels))),
    }
    sessions = {way: open_tower(models.checkpoint, "image", way, threads=0) for way in candidates(models.checkpoint)}
    for way, session in sessions.items():
        runs[f"anmok, {way}"] = lambda session=session: session.run(["embedding"], {"pixels": raw})[0]
    same(runs)
    timings = take_turns(runs, rounds=rounds)
    work = 2 * products(models.checkpoint) * batch / 1e9
    print(f"\n{models.name}, pictures, batch {batch} ({work / batch:.1f} GFLOP each)")
    rows: list[dict[str, object]] = []
    for who, timing in timings.items():
        precision = next(p for p in ("fp32", "bf16", "int8") if p in who)
        share = work / timing.median / limits[precision]
        median, low, high = ratios(timing, timings["open_clip fp32"])
        print(
            f"  {who:<52} {batch / timing.median:8.1f}/s {timing!s:<34} {median:5.2f} times open_clip "
            f"({low:.2f}–{high:.2f}), {share:4.0%} of the {precision} limit",
            flush=True,
        )
        rows.append(
            {
                "model": models.name, "batch": batch, "who": who, "seconds": timing.seconds, "times": median,
                "lowest": low, "highest": high, "share": share,
            }
        )  # fmt: skip
    return rows


def candidates(checkpoint: Checkpoint) -> Iterator[Way]:
    """All but those that differ only in how many products are rounded with care."""
    return (way for way in ways(checkpoint) if way.kept in (0.0, 1.0))


def products(checkpoint: Checkpoint) -> int:
    """Multiplications of the picture tower's matrix products, for one picture."""
    spec = checkpoint.spec.image
    tokens, w = spec.positions, spec.width
    per_layer = tokens * (4 * w * w + 2 * w * spec.mlp_width) + 2 * tokens * tokens * w
    return spec.grid**2 * spec.patch_size**2 * 3 * w + spec.layers * per_layer + w * checkpoint.spec.dimension


def same(runs: dict[str, Callable[[], np.ndarray]]) -> None:
    """Those in fp32 give the same embeddings; the others ones that point the same way."""
    found = {who: run() for who, run in runs.items()}
    expected = found["open_clip fp32"]
    for who, rows in found.items():
        worst = np.abs(rows - expected).max()
        cosine = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
        if ("fp32" in who and worst > 1e-3) or cosine.min() < 0.99:
            raise SystemExit(f"{who} does not give the same embedding ({worst:.1e}): the comparison would be unfair")


def in_torch(run: Callable[[], torch.Tensor]) -> Callable[[], np.ndarray]:
    def wrapped() -> np.ndarray:
        with torch.inference_mode():
            return run().numpy()

    return wrapped


def features(output: object) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output.pooler_output


# --- texts


def texts(models: Models, labels: int, best: str | None) -> list[dict[str, object]]:
    """Prompts of 80 templates: anmok's own path; open_clip's on a sample, padded as it pads.

    Many labels take minutes: where the `best` way of few labels is known, it and the exact one are shown.
    """
    import time

    from anmok.encoder import Encoder

    every = [text for i in range(labels) for text in prompts(TEMPLATES["clip80"], f"{NOUNS[i % 10]} {i}")]
    sample = every[:: max(1, len(every) // 64)][:64]
    ids = torch.from_numpy(models.checkpoint.tokenizer(sample, trim=False))
    theirs = take_turns({"open_clip": in_torch(lambda: models.open_clip.encode_text(ids))}, rounds=3)["open_clip"]
    rate = len(sample) / theirs.median
    print(f"\n{models.name}, {len(every):,} texts ({labels} labels in 80 templates)")
    print(f"  open_clip fp32, padded to 77 {rate:31.1f}/s")
    rows: list[dict[str, object]] = []
    for way in candidates(models.checkpoint):
        if best and way != EXACT and f"anmok, {way}" != best:
            continue
        encoder = Encoder(models.checkpoint, precision="fp32")
        encoder._towers._sessions["text"] = open_tower(models.checkpoint, "text", way, threads=0)
        encoder.encode_text(every[:256])
        seconds = []
        for _ in range(3 if len(every) < 10_000 else 1):
            start = time.perf_counter()
            encoder.encode_text(every)
            seconds.append(time.perf_counter() - start)
        timing = Timing(tuple(seconds))
        print(
            f"  anmok, {way!s:<45} {len(every) / timing.median:8.1f}/s, {len(every) / timing.median / rate:.1f} times",
            flush=True,
        )
        rows.append(
            {
                "model": models.name, "texts": len(every), "who": f"anmok, {way}", "seconds": timing.seconds,
                "times": len(every) / timing.median / rate,
            }
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
