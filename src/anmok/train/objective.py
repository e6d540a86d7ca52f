"""What a step minimizes: the loss of the recipe, over one process or many, and what a teacher adds to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok.checkpoints import load_checkpoint
from anmok.train.distributed import gather_rows, gathered_softmax_loss, ring_sigmoid_loss
from anmok.train.losses import (
    cosine_distillation_loss,
    logit_distillation_loss,
    relation_distillation_loss,
    sigmoid_loss,
    softmax_loss,
)
from anmok.train.recipe import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anmok.checkpoints import Checkpoint
    from anmok.models.modules import DualEncoder
    from anmok.train.batches import Batch
    from anmok.train.recipe import LossConfig

__all__ = ["CheckpointTeacher", "Objective", "Teacher", "Towers", "VectorTeacher", "open_teacher"]

Vectors = tuple[Tensor | None, Tensor | None]  # a teacher's unit vectors of pictures and of texts, [n, d'] each


class Towers(nn.Module):
    """Both towers in one call, as DistributedDataParallel wants it: pixels and ids → unit vectors."""

    def __init__(self, model: DualEncoder, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model = model
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, pixels: Tensor, ids: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels uint8 [n, h, w, 3], ids [m, l] of different texts, rows [n] → pictures [n, d], texts [n, d].

        The permuted pixels lie channels last in memory, as the convolutions like them.
        """
        normalized = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        pictures = F.normalize(self.model.encode_image(normalized).float(), dim=-1)
        texts = F.normalize(self.model.encode_text(ids).float(), dim=-1)
        return pictures, texts[rows]


class Objective:
    """The loss of one step on one process; DistributedDataParallel's mean over processes makes it that of all."""

    def __init__(self, config: LossConfig, score: str, *, processes: int, teacher: Teacher | None) -> None:
        self.config, self.score, self.processes, self.teacher = config, score, processes, teacher

    def __call__(
        self, vectors: tuple[Tensor, Tensor], scale: Tensor, bias: Tensor | None, groups: Tensor, taught: Vectors
    ) -> Tensor:
        """A number.

        Args:
            vectors: of pictures and texts, of unit length, [n, d] each.
            scale: that cosines are multiplied with.
            bias: that is added; None for softmax.
            groups: int64 [n]; pairs of one group are true of each other.
            taught: the teacher's vectors of the same pairs.
        """
        loss = self._contrastive(*vectors, scale, bias, groups)
        if self.teacher is None:
            return loss
        return loss + self.config.teacher_weight * self._distillation(*vectors, scale, *taught)

    def _contrastive(
        self, pictures: Tensor, texts: Tensor, scale: Tensor, bias: Tensor | None, groups: Tensor
    ) -> Tensor:
        options: dict[str, Any] = {"tile": self.config.tile or None}
        options["groups"] = None if self.config.positives == "own" else groups
        if bias is None:
            many = softmax_loss if self.processes == 1 else gathered_softmax_loss
            return many(pictures, texts, scale, **options)
        one_or_ring = sigmoid_loss if self.processes == 1 else ring_sigmoid_loss
        return one_or_ring(pictures, texts, scale, bias, **options)

    def _distillation(
        self,
        pictures: Tensor,
        texts: Tensor,
        scale: Tensor,
        taught_pictures: Tensor | None,
        taught_texts: Tensor | None,
    ) -> Tensor:
        """What the teacher knows of the same pairs, those of all processes: each has the whole of it."""
        assert self.teacher is not None
        if self.processes > 1:
            pictures, texts = gather_rows(pictures), gather_rows(texts)
            taught_pictures = None if taught_pictures is None else gather_rows(taught_pictures)
            taught_texts = None if taught_texts is None else gather_rows(taught_texts)
        kind = self.teacher.kind
        if kind == "logits":
            assert taught_pictures is not None
            assert taught_texts is not None
            return logit_distillation_loss(pictures, texts, scale, taught_pictures, taught_texts, self.teacher.scale)
        both = [(pictures, taught_pictures), (texts, taught_texts)]
        parts = [_follow(kind, own, known) for own, known in both if known is not None]
        return torch.stack(parts).mean()


def _follow(kind: str, own: Tensor, known: Tensor) -> Tensor:
    seen = known.abs().sum(dim=1) > 0  # rows of zeros: the teacher does not know it
    if seen.sum() < 2:
        return own.sum() * 0.0
    if kind == "cosine":
        return cosine_distillation_loss(own[seen], known[seen])
    return relation_distillation_loss(own[seen], known[seen])


class Teacher:
    """Who is learned from. `kind` is how: "logits", "cosine" or "relation"; `scale` multiplies its cosines."""

    kind: str
    scale: Tensor

    def vectors(self, batch: Batch) -> Vectors:
        """Unit vectors of the pictures and texts of a batch, where it knows any."""
        raise NotImplementedError


class CheckpointTeacher(Teacher):
    """Another dual encoder, which sees the same varied pictures through its own transform."""

    def __init__(self, checkpoint: Checkpoint, kind: str, device: torch.device, precision: torch.dtype) -> None:
        from anmok.train.start import module_of

        self.checkpoint, self.kind, self._precision = checkpoint, kind, precision
        transform = checkpoint.transform
        self._towers = Towers(module_of(checkpoint, device), transform.mean, transform.std).to(device).eval()
        self.scale = self._towers.model.logit_scale.detach().exp()

    @torch.no_grad()
    def vectors(self, batch: Batch) -> Vectors:
        """See `Teacher`."""
        device = self.scale.device.type
        with torch.autocast(device, self._precision, enabled=self._precision != torch.float32):
            pictures, texts = self._towers(batch.pixels[1], batch.ids[1], batch.rows)
        return pictures, texts


class VectorTeacher(Teacher):
    """Vectors on disk, of texts, of pictures or of both, by any encoders: neither needs to be a CLIP."""

    def __init__(self, pictures: Known | None, texts: Known | None, kind: str) -> None:
        self.kind, self.scale = kind, torch.tensor(1.0)
        self.pictures, self.texts = pictures, texts

    def vectors(self, batch: Batch) -> Vectors:
        """See `Teacher`; what it does not know gets zeros."""
        pictures = None if self.pictures is None else self.pictures(batch.names)
        return pictures, None if self.texts is None else self.texts(batch.texts)


class Known:
    """Unit vectors by name, from an .npz with `names` and `vectors`; `option` is what asked for it."""

    def __init__(self, file: str, option: str, device: torch.device) -> None:
        try:
            with np.load(Path(file), allow_pickle=False) as saved:
                names, vectors = saved["names"], saved["vectors"].astype(np.float32)
        except (OSError, KeyError, ValueError) as error:
            raise RecipeError(
                f"loss.{option} {file} cannot be read ({error}): expected .npz with `names` and `vectors`"
            ) from error
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        self.dimension = vectors.shape[1]
        self._row_of = {str(name): row for row, name in enumerate(names)}
        self._table = torch.from_numpy(np.concatenate([vectors, np.zeros_like(vectors[:1])])).to(device)

    def __call__(self, names: Sequence[str]) -> Tensor:
        """[n, d]; zeros for an unknown name."""
        rows = [self._row_of.get(name, len(self._row_of)) for name in names]
        return self._table[torch.tensor(rows, device=self._table.device)]


def open_teacher(config: LossConfig, dimension: int, device: torch.device, precision: torch.dtype) -> Teacher | None:
    """The teacher that a recipe names, or None.

    Raises:
        RecipeError: it cannot teach in the way that is asked for.
    """
    kind = config.teacher_kind
    if config.teacher:
        checkpoint = load_checkpoint(config.teacher)
        if checkpoint.exports is not None or checkpoint.transform.resize == "naflex":
            raise RecipeError(f"loss.teacher {config.teacher}: ONNX exports and NaFlex towers cannot teach yet")
        kind = "logits" if kind == "auto" else kind
        if kind == "cosine" and checkpoint.spec.dimension != dimension:
            raise RecipeError(
                f"loss.teacher_kind cosine needs the same dimension: the teacher has {checkpoint.spec.dimension}, the "
                f"model {dimension}. Use relation or logits, or model.dimension = {checkpoint.spec.dimension}"
            )
        return CheckpointTeacher(checkpoint, kind, device, precision)
    options = ("teacher_pictures", "teacher_texts")
    files = [(option, file) for option in options if (file := getattr(config, option))]
    if not files:
        return None
    if kind == "logits":
        raise RecipeError(
            "vectors on disk have no logits: with loss.teacher_texts or loss.teacher_pictures, "
            "loss.teacher_kind must be relation or cosine"
        )
    known = {option: Known(file, option, device) for option, file in files}
    for option, vectors in known.items():
        if kind == "cosine" and vectors.dimension != dimension:
            raise RecipeError(
                f"loss.teacher_kind cosine needs vectors of the model's dimension, {dimension}: those of loss.{option} "
                f"have {vectors.dimension}. Use relation, or model.dimension = {vectors.dimension}"
            )
    kind = "relation" if kind == "auto" else kind
    return VectorTeacher(known.get("teacher_pictures"), known.get("teacher_texts"), kind)
