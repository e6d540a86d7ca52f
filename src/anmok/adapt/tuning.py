"""Methods that train with PyTorch, judged as the others are: learned words before the labels, and LoRA on the towers.

Learned prompts (CoOp) need features only and end as a linear map on them. With LoRA the towers change, so the pictures
of every fold are encoded by towers that were tuned without them, and what is shipped is another encoder.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from anmok import progress
from anmok.adapt.head import Head
from anmok.adapt.methods import Known, temperature
from anmok.adapt.validation import Checked
from anmok.classify import encode_labels, resolve_templates
from anmok.encoder import Encoder
from anmok.texts.templates import prompts
from anmok.tune import TowerSettings, tune_prompts, tune_towers

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.adapt.examples import Examples
    from anmok.checkpoints import Checkpoint

    Array = NDArray[np.float64]
    Rows = NDArray[np.intp]

__all__ = ["LearnedPrompts", "TowerTuning"]

TEMPLATES = "small"  # as zero-shot has them
STEPS = 60  # of each tuning


class LearnedPrompts:
    """The words before a label are learned (CoOp, Zhou et al. 2022, arXiv 2109.01134)."""

    name = "learned prompts"
    settings: tuple[str, ...] = ("4 words, shared",)

    def __init__(self, checkpoint: Checkpoint, *, seed: int) -> None:
        self._checkpoint, self._seed = checkpoint, seed

    def fit(self, known: Known, only: int | None = None) -> list[Head]:
        """One head: the labels behind the learned words."""
        with progress.quiet():
            words = tune_prompts(
                self._checkpoint, known.vectors.astype(np.float32), known.targets, known.names, seed=self._seed
            )
        return [Head.linear(known.scale * words.astype(np.float64))]


class TowerTuning:
    """LoRA on both towers (CLIP-LoRA, Zanella & Ben Ayed 2024, arXiv 2405.18541).

    Args:
        encoder: what is tuned.
        examples: all of them readable, none of them of no label.
        folder: where a run that was stopped goes on; None: it starts anew.
        seed: of what is drawn.
    """

    def __init__(self, encoder: Encoder, examples: Examples, *, folder: Path | None, seed: int) -> None:
        self._encoder, self._examples, self._seed = encoder, examples, seed
        self._how = TowerSettings(method="lora", steps=STEPS)
        self._folder = None if folder is None else folder / self._digest()
        templates = resolve_templates(TEMPLATES)
        self._texts = [[text for name in label.texts for text in prompts(templates, name)] for label in examples.labels]

    def check(self, numbers: Rows) -> Checked:
        """Judge it on the folds `numbers` [n]."""
        start = time.perf_counter()
        targets = self._examples.targets
        logits = np.empty((len(targets), len(self._examples.labels)))
        folds = np.unique(numbers)
        with progress.task("tuning the towers, fold by fold", len(folds)) as advance:
            for fold in folds:
                inside = np.flatnonzero(numbers == fold)
                with progress.quiet():
                    encoder = self._tuned(np.flatnonzero(numbers != fold), f"fold {fold}")
                    logits[inside] = self._logits(encoder, inside)
                advance(1)
        factor = temperature(logits, targets)
        described = f"rank {self._how.rank}, {self._how.steps} steps"
        return Checked("LoRA", described, factor, factor * logits[None], targets, time.perf_counter() - start)

    def tuned(self) -> Encoder:
        """The encoder tuned on all examples."""
        return self._tuned(np.arange(len(self._examples)), "all")

    def words(self, encoder: Encoder) -> Array:
        """The labels as a tuned encoder sees them, [m, d]."""
        embeddings = encode_labels(encoder, self._examples.labels, resolve_templates(TEMPLATES))
        return embeddings.vectors.astype(np.float64)

    def clear(self) -> None:
        """Let go of what a stopped run would go on from."""
        if self._folder is not None:
            shutil.rmtree(self._folder.parent, ignore_errors=True)

    def _tuned(self, rows: Rows, name: str) -> Encoder:
        tuned = tune_towers(
            self._encoder.checkpoint,
            [self._examples.pictures[row] for row in rows],
            self._examples.targets[rows],
            self._texts,
            settings=self._how,
            seed=self._seed,
            folder=None if self._folder is None else self._folder / name,
        )
        return Encoder(tuned.checkpoint, precision="fp32")

    def _logits(self, encoder: Encoder, rows: Rows) -> Array:
        pictures = encoder.encode_image([self._examples.pictures[row] for row in rows]).vectors.astype(np.float64)
        found: Array = encoder.logit_scale * pictures @ self.words(encoder).T
        return found

    def _digest(self) -> str:
        """Of everything that a run depends on: another one has another folder."""
        told = [self._encoder.fingerprint, self._examples.names, self._examples.targets.tolist(), self._seed]
        return blake2b(repr([*told, asdict(self._how)]).encode(), digest_size=8).hexdigest()
