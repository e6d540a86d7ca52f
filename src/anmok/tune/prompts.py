"""CoOp: the words before a class name are learned instead of written.

    [v1] [v2] … [vm] class name  ─▶ frozen text tower ─▶ T        v are vectors in the space of word embeddings
    cross-entropy(exp(t) · P Tᵀ, classes) ─▶ backward, through the text tower, to v

Pictures are encoded once, by whoever calls. What comes out is one vector per class, so that prompts tuned with PyTorch
are used without, as any linear head on the same encoder.

Source: Learning to Prompt for Vision-Language Models (Zhou et al. 2022, arXiv 2109.01134, equations 2 and 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok import progress
from anmok.train.machine import choose_device
from anmok.train.optimizer import learning_rate
from anmok.train.order import Order
from anmok.train.recipe import OptimizerConfig, RunConfig
from anmok.train.start import module_of
from anmok.tune.settings import PromptSettings, TuneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.texts import Tokenizer

__all__ = ["prompt_ids", "tune_prompts"]

MANY = 256  # classes from which on the backward pass computes the text tower again instead of keeping its insides


def tune_prompts(
    checkpoint: Checkpoint,
    vectors: NDArray[np.float32],
    targets: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    settings: PromptSettings | None = None,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Learn the words before the class names from encoded pictures.

    Args:
        checkpoint: whose frozen text tower reads them.
        vectors: pictures as that checkpoint encodes them, float32 [n, d], of unit length.
        targets: class of each picture, int64 [n], 0 … m-1.
        class_names: of the m classes.
        settings: how many words, and how they are learned.
        seed: of the order of the pictures, and of words beyond those that `settings.start` has.

    Returns:
        Class embeddings float32 [m, d], of unit length. With `settings.steps` = 0 those of the starting words.

    Raises:
        TuneError: the inputs do not fit together.
    """
    settings = settings or PromptSettings()
    rows, wanted = _checked(checkpoint, vectors, targets, class_names)
    device = choose_device(RunConfig(device=settings.device))
    model = module_of(checkpoint, device).requires_grad_(False)
    model.set_gradient_checkpointing(len(class_names) > MANY)
    spec = checkpoint.spec.text
    ids, first, start = prompt_ids(checkpoint.tokenizer, class_names, settings.start, settings.context, trim=spec.trims)
    ids = ids.to(device)
    words = model.text.token_embedding(ids)  # [m, l, w]
    context = _first_context(model.text.token_embedding(start.to(device)), settings, len(class_names), seed)

    def classes() -> Tensor:
        learned = context.expand(len(words), -1, -1)
        prompts = torch.cat([words[:, :first], learned, words[:, first + settings.context :]], dim=1)
        return F.normalize(model.text.encode_words(prompts, ids), dim=-1)

    pictures, labels = torch.from_numpy(rows).to(device), torch.from_numpy(wanted).to(device)
    config = OptimizerConfig(lr=settings.lr, warmup=0)
    optimizer = torch.optim.Adam([context], lr=settings.lr)
    size = min(settings.batch_size, len(rows))
    order, per_epoch = Order([[len(rows)]], seed=seed), len(rows) // size
    with progress.task("learning prompts", settings.steps) as advance:
        for epoch in range(-(-settings.steps // per_epoch)):
            for step, place in enumerate(order.batches(epoch, size), epoch * per_epoch):
                if step >= settings.steps:
                    break
                optimizer.param_groups[0]["lr"] = learning_rate(step, settings.steps, config)
                optimizer.zero_grad(set_to_none=True)
                logits = model.logit_scale.exp() * pictures[place.indices] @ classes().T
                F.cross_entropy(logits, labels[place.indices]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                advance(1)
    with torch.no_grad():
        learned: NDArray[np.float32] = classes().cpu().numpy()
    if not np.isfinite(learned).all():
        raise TuneError(f"the prompts diverged: take a lower lr than {settings.lr:g}")
    return learned


def prompt_ids(
    tokenizer: Tokenizer, class_names: Sequence[str], start: str, context: int, *, trim: bool
) -> tuple[Tensor, int, Tensor]:
    """Token ids of "… class name" with room for learned vectors in the place of the starting words.

    The name is tokenized behind the words, since many tokenizers write a word in a sentence otherwise than alone.

    Args:
        tokenizer: of the model.
        class_names: m of them.
        start: the words that stand before a name at first.
        context: vectors that take their place.
        trim: whether columns that only hold padding may go.

    Returns:
        ids int64 [m, l]; the column of the first vector; ids of the starting words [k].
    """
    alone, empty = (_content(tokenizer, text) for text in (start, ""))
    begins = 1 if len(empty[0]) else 0  # a start-of-text token is all that the empty text has before its end
    words = alone[0][begins:]
    length = tokenizer.context_length
    rows = np.full((len(class_names), length), tokenizer.pad_token, np.int64)
    for row, name in zip(rows, class_names, strict=True):
        content, rest = _content(tokenizer, f"{start} {name}")
        same = content[begins : begins + len(words)]
        named = content[begins + len(words) :] if np.array_equal(same, words) else _content(tokenizer, name)[0][begins:]
        room = length - begins - context - 1  # for the name; the last is for the end of text
        full = np.concatenate([content[:begins], np.resize(words, context), named[:room], rest])
        row[: min(length, len(full))] = full[:length]
        if room < 1:
            raise TuneError(f"{context} learned words leave no room for a name in the {length} tokens of a text")
    if trim:
        rows = rows[:, : int((rows == tokenizer.eos_token).argmax(axis=1).max()) + 1]
    return torch.from_numpy(rows), begins, torch.from_numpy(words)


def _content(tokenizer: Tokenizer, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids of a text before its end-of-text token, and from there on."""
    (ids,) = tokenizer([text], trim=False)
    ends = np.flatnonzero(ids == tokenizer.eos_token)
    end = int(ends[0]) if len(ends) else len(ids)
    return ids[:end], ids[end:]


def _first_context(start: Tensor, settings: PromptSettings, classes: int, seed: int) -> nn.Parameter:
    """The embedded starting words [k, w] → [1 or m, context, w]: the last of them, and random ones before."""
    width = start.shape[1]
    random = torch.Generator().manual_seed(seed)
    more = 0.02 * torch.randn(max(0, settings.context - len(start)), width, generator=random).to(start)
    words = torch.cat([more, start[max(0, len(start) - settings.context) :]])
    return nn.Parameter(words.repeat(classes if settings.per_class else 1, 1, 1))


def _checked(
    checkpoint: Checkpoint, vectors: NDArray[np.float32], targets: NDArray[np.int64], class_names: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Vectors and targets as they are computed with; every problem is named."""
    rows, wanted = np.array(vectors, np.float32), np.array(targets)
    dimension = checkpoint.spec.dimension
    rules = [
        (checkpoint.exports is not None, f"{checkpoint.name} holds ready ONNX exports, which gradients cannot cross"),
        (rows.ndim != 2 or rows.shape[1] != dimension, f"vectors are {list(rows.shape)}, expected [n, {dimension}]"),
        (len(rows) == 0, "there are no pictures"),
        (not np.isfinite(rows).all(), "vectors hold values that are no numbers"),
        (wanted.shape != (len(rows),), f"targets are {list(wanted.shape)}, expected one per vector"),
        (len(class_names) < 2, f"{len(class_names)} classes: expected at least two"),
        (
            wanted.size > 0 and (wanted.dtype.kind not in "iu" or wanted.min() < 0 or wanted.max() >= len(class_names)),
            f"targets must be whole numbers, 0 to {len(class_names) - 1}",
        ),
    ]
    if problems := [text for broken, text in rules if broken]:
        raise TuneError("the prompts cannot be tuned: " + "; ".join(problems))
    return rows, wanted.astype(np.int64)
