"""What a step minimizes, as pure functions of unit vectors: contrastive losses, and what a teacher adds.

`scale` is the multiplier of the cosines itself (`logit_scale.exp()`), 0-d; a bias is 0-d too. Every loss is a mean
over pairs, 0-d, in float32 (float64 where the vectors are), also under autocast: around 50, logits in bfloat16 come in
steps of a quarter, and this product is a small part of a step's work.

Without `tile` the losses are the papers' few lines, and hold several times n * n numbers. With it they are the same
loss and gradients from blocks of tile x tile logits, one after the other: memory grows with n, not with n * n. 1024
is a good tile. Double backward works without `tile` only.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from anmok.train.tiles import (
    full_precision,
    group_means,
    sigmoid_sums,
    two_way_logsumexp,
    widened,
    with_gradients,
)

__all__ = [
    "check_pairs",
    "clamp_scale",
    "cosine_distillation_loss",
    "logit_distillation_loss",
    "relation_distillation_loss",
    "sigmoid_loss",
    "softmax_loss",
]


def softmax_loss(
    pictures: Tensor, texts: Tensor, scale: Tensor, *, groups: Tensor | None = None, tile: int | None = None
) -> Tensor:
    """CLIP's loss: each picture must find its text among all, and each text its picture.

    Args:
        pictures: of unit length, [n, d].
        texts: of unit length, [n, d]; text i is true of picture i.
        scale: multiplies the cosines.
        groups: int64 [n]; pairs of one group are true of each other too, and share the target evenly.
        tile: rows and columns of the logits that are held at once; None: all.

    Returns:
        The mean of both cross entropies; log n where the model knows nothing.

    Raises:
        ValueError: shapes do not fit together.

    Source: Radford et al. 2021 (arXiv 2103.00020), figure 3; groups: UniCL, Yang et al. 2022 (arXiv
    2204.03610), the bidirectional loss; open_clip's `ClipLoss`.
    """
    check_pairs(pictures, texts, groups, tile)
    with full_precision(pictures):
        pictures, texts, scale = widened(pictures, texts, scale)
        if tile is not None:
            rows, columns = two_way_logsumexp(scale * pictures, texts, tile=tile)
            # the targets need no n x n table: the mean of the true logits is the logit with the mean of the true texts
            true = scale * (pictures * group_means(texts, groups)).sum(dim=1)
            return ((rows + columns) / 2 - true).mean()
        logits = scale * pictures @ texts.T  # [n, n]
        if groups is None:
            target = torch.arange(len(logits), device=logits.device)
        else:
            truth = (groups[:, None] == groups).to(logits.dtype)
            target = truth / truth.sum(dim=1, keepdim=True)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def sigmoid_loss(
    pictures: Tensor,
    texts: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    groups: Tensor | None = None,
    tile: int | None = None,
) -> Tensor:
    """SigLIP's loss: of each picture with each text, is it true?

    -1/n times the sum over all n * n pairs of log sigmoid(z (scale * cosine + bias)), where z is 1 for true pairs and
    -1 for all others. By 1/n, as the paper has it, not by 1/n²: a true pair weighs the same in every batch size.

    Args:
        pictures: of unit length, [n, d].
        texts: of unit length, [n, d]; text i is true of picture i.
        scale: multiplies the cosines.
        bias: is added; SigLIP starts at -10, because nearly all pairs are false.
        groups: int64 [n]; pairs of one group are true of each other too.
        tile: rows and columns of the logits that are held at once; None: all.

    Raises:
        ValueError: shapes do not fit together.

    Source: Zhai et al. 2023 (arXiv 2303.15343), algorithm 1; open_clip's `SigLipLoss`.
    """
    check_pairs(pictures, texts, groups, tile)
    with full_precision(pictures):
        pictures, texts, scale, bias = widened(pictures, texts, scale, bias)
        if groups is None:
            groups = torch.arange(len(pictures), device=pictures.device)
        if tile is not None:
            queries = scale * pictures
            total, gradients = sigmoid_sums(queries, texts, bias, groups, groups, tile=tile)
            return with_gradients(total, (queries, texts, bias), gradients) / len(pictures)
        logits = scale * pictures @ texts.T + bias  # [n, n]
        signs = torch.where(groups[:, None] == groups, 1.0, -1.0)
        return -F.logsigmoid(signs * logits).sum() / len(pictures)


def logit_distillation_loss(  # noqa: PLR0917 - the same three of two models, in the same order
    pictures: Tensor,
    texts: Tensor,
    scale: Tensor,
    teacher_pictures: Tensor,
    teacher_texts: Tensor,
    teacher_scale: Tensor,
) -> Tensor:
    """How far the student's answers over a batch are from the teacher's, pictures to texts and back.

    The cross entropy of the student's softmax against the teacher's. Both score their own vectors, so the teacher's
    dimension may be another: student [n, d], teacher [n, d']. Nothing flows into the teacher.

    Raises:
        ValueError: shapes do not fit together.

    Source: open_clip's `DistillClipLoss`, its `distill_loss`.
    """
    check_pairs(pictures, texts)
    check_pairs(teacher_pictures, teacher_texts)
    _check_as_many(pictures, teacher_pictures)
    with full_precision(pictures):
        pictures, texts, scale = widened(pictures, texts, scale)
        with torch.no_grad():
            teacher_pictures, teacher_texts, teacher_scale = widened(teacher_pictures, teacher_texts, teacher_scale)
            taught = (teacher_scale * teacher_pictures @ teacher_texts.T).to(pictures.dtype)
        logits = scale * pictures @ texts.T
        forth = F.cross_entropy(logits, taught.softmax(dim=1))
        back = F.cross_entropy(logits.T, taught.T.softmax(dim=1))
        return (forth + back) / 2


def cosine_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean of 1 - cosine between the student's and the teacher's vectors of the same things, both [n, d].

    Raises:
        ValueError: shapes differ.
    """
    check_pairs(student, teacher, names="vectors of the student as of the teacher")
    with full_precision(student):
        student, teacher = widened(student, teacher.detach())
        return 1 - F.cosine_similarity(student, teacher, dim=1).mean()


def relation_distillation_loss(student: Tensor, teacher: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Things that are alike to the teacher must be alike to the student; their dimensions may differ.

    For each thing of the batch, the softmax of its cosines with all others (itself left out) over `temperature` is
    its neighbourhood. The loss is the mean of KL(teacher's neighbourhood || student's).

    Args:
        student: of unit length, [n, d].
        teacher: of unit length, [n, d'], of the same things, such as a text encoder's vectors of the texts.
        temperature: divides the cosines of both; small: only the nearest count.

    Raises:
        ValueError: there are fewer than 2 things, or shapes do not fit together.

    Source: probabilistic knowledge transfer, Passalis and Tefas 2018 (arXiv 1803.10837), with a softmax as the kernel.
    """
    _check_as_many(student, teacher)
    if len(student) < 2:
        raise ValueError("one vector has no relations: a relation loss needs at least 2")
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}, expected a number above 0")
    with full_precision(student):
        student, teacher = widened(student, teacher.detach())
        near = _without_diagonal(student @ student.T / temperature).log_softmax(dim=1)
        taught = _without_diagonal(teacher @ teacher.T / temperature).log_softmax(dim=1)
        return F.kl_div(near, taught, reduction="batchmean", log_target=True)


def clamp_scale(logit_scale: Tensor, most: float = 100) -> None:
    """Keep the multiplier exp(`logit_scale`) between 1 and `most`, in place; call it after each step.

    Source: Radford et al. 2021, section 2.5; open_clip's `train_one_epoch`.
    """
    with torch.no_grad():
        logit_scale.clamp_(0, math.log(most))


# --- what all of them need -------------------------------------------------------------------


def check_pairs(
    first: Tensor,
    second: Tensor,
    groups: Tensor | None = None,
    tile: int | None = None,
    *,
    names: str = "pictures as texts",
) -> None:
    """Refuse what would give a wrong number (PyTorch would broadcast it) or none.

    Raises:
        ValueError: says what was given and what is expected.
    """
    if first.ndim != 2 or first.shape != second.shape or not len(first):
        raise ValueError(
            f"a loss needs as many {names}, [n, d] each with n at least 1: "
            f"given {list(first.shape)} and {list(second.shape)}"
        )
    if groups is not None and (groups.dtype != torch.int64 or groups.shape != first.shape[:1]):
        raise ValueError(
            f"groups must be int64 [{len(first)}], one per pair: given {groups.dtype} {list(groups.shape)}"
        )
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}, expected at least 1 row, or None for all at once")


def _check_as_many(student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher):
        raise ValueError(
            f"student and teacher must have vectors [n, d] of the same things: "
            f"given {list(student.shape)} and {list(teacher.shape)}"
        )


def _without_diagonal(square: Tensor) -> Tensor:
    """[n, n] → [n, n-1]. Seen as one line, every (n+1)-th number is of the diagonal."""
    n = len(square)
    return square.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
