"""Large batches in little memory: the gradient cache (Gao et al. 2021, arXiv 2101.06983).

A contrastive loss needs the vectors of the whole batch at once, but not the activations behind them. So the batch is
encoded twice, chunk by chunk: first without gradients, for its vectors [n, d]; then, once the loss has told how each
vector must change, with gradients, and each chunk is sent back by itself:

    d loss / d weights  =  sum over chunks of  (d loss / d vectors of the chunk) · (d vectors / d weights)

This is the chain rule and no approximation: the gradients are those of the whole batch. The price is one more forward
pass. Only batch normalization sees chunks instead of the batch, as it does with every accumulation of gradients.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anmok.train.tiles import full_precision, widened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

__all__ = ["cached_backward"]

Vectors = tuple[Tensor, Tensor]  # of pictures [c, d] and of texts [c, d]


def cached_backward(
    encode: Callable[[Any], Vectors],
    chunks: Sequence[Any],
    objective: Callable[[Tensor, Tensor], Tensor],
    *,
    model: nn.Module,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Tensor:
    """Add the gradients of `objective` over all chunks to `.grad`, with the activations of one chunk at a time.

    The same as `backward(objective(pictures, texts))` with the vectors of all chunks together. Dropout draws the same
    numbers in both passes, and buffers (running statistics of batch normalization) follow one pass only.

    Args:
        encode: one chunk → vectors of its pictures and texts, of unit length, [c, d] each. It is called twice for
            each chunk and must draw random numbers from torch alone.
        chunks: whatever `encode` takes; not all need to be of one size.
        objective: vectors of all pictures and texts [n, d] (float32 at least) → loss. Parameters that it uses by
            itself, such as the logit scale, get their gradients too.
        model: what `encode` runs. In DistributedDataParallel (without `find_unused_parameters`, which cannot see what
            the objective uses) gradients are averaged over processes once, with the last chunk.
        backward: sends a number back; with a gradient scaler `lambda loss: scaler.scale(loss).backward()`.

    Returns:
        The loss, detached and not scaled.

    Raises:
        ValueError: there are no chunks, or a chunk got other vectors the second time.
    """
    if not chunks:
        raise ValueError("there is nothing to train on: `chunks` is empty")
    states, cached = _encode_all(encode, chunks, model)
    loss, gradients, owned = _gradients(objective, cached)
    for index, (chunk, state, gradient) in enumerate(zip(chunks, states, gradients, strict=True)):
        last = index == len(chunks) - 1
        with nullcontext() if last else _without_averaging(model):
            _set_random_state(model, state)
            vectors = encode(chunk)
            _check_same(vectors, gradient)
            with full_precision(vectors[0]):
                # a number whose gradient with respect to the weights is the chunk's part of the loss's
                surrogate = _product(vectors[0], gradient[0]) + _product(vectors[1], gradient[1])
                if last:  # together with the rest, because DistributedDataParallel waits for every parameter
                    for parameter, own in owned:
                        surrogate = surrogate + _product(parameter, own)
                if surrogate.requires_grad:  # frozen towers have nothing to learn
                    backward(surrogate)
    return loss


@torch.no_grad()
def _encode_all(
    encode: Callable[[Any], Vectors], chunks: Sequence[Any], model: nn.Module
) -> tuple[list[list[Tensor]], list[Vectors]]:
    """The first pass: for each chunk the random state before it, and its vectors."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    states, cached = [], []
    for chunk in chunks:
        states.append(_random_state(model))
        cached.append(encode(chunk))
    for buffer, value in before:
        buffer.copy_(value)
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model.require_forward_param_sync = True  # it had made the buffers of all processes equal; let it do so again
    # Weights that an outer autocast has cast without gradient must not be used again in the second pass, which would
    # learn nothing then (pytorch/pytorch#112583).
    torch.clear_autocast_cache()
    return states, cached


def _gradients(
    objective: Callable[[Tensor, Tensor], Tensor], cached: list[Vectors]
) -> tuple[Tensor, list[Vectors], list[tuple[Tensor, Tensor]]]:
    """The loss, its gradients for the vectors of each chunk, and for each parameter that the objective uses itself."""
    every = widened(*(torch.cat(vectors) for vectors in zip(*cached, strict=True)))
    pictures, texts = (vectors.detach().requires_grad_() for vectors in every)
    loss = objective(pictures, texts)
    parameters = [leaf for leaf in _leaves(loss) if leaf is not pictures and leaf is not texts]
    with full_precision(pictures):
        d_pictures, d_texts, *d_parameters = torch.autograd.grad(
            loss, [pictures, texts, *parameters], materialize_grads=True
        )
    lengths = zip(*((len(of_pictures), len(of_texts)) for of_pictures, of_texts in cached), strict=True)
    parts = (torch.split(whole, list(count)) for whole, count in zip((d_pictures, d_texts), lengths, strict=True))
    return loss.detach(), list(zip(*parts, strict=True)), list(zip(parameters, d_parameters, strict=True))


def _leaves(loss: Tensor) -> list[Tensor]:
    """Every tensor that asks for gradients and that `loss` was made from."""
    found, seen, waiting = [], set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting.extend(parent for parent, _ in node.next_functions)
    return found


def _product(own: Tensor, gradient: Tensor) -> Tensor:
    return (own.to(gradient.dtype) * gradient).sum()


def _check_same(vectors: Vectors, gradient: Vectors) -> None:
    now, before = [[list(tensor.shape) for tensor in pair] for pair in (vectors, gradient)]
    if now != before:
        raise ValueError(
            f"a chunk was encoded as {before} and, the second time, as {now}: "
            "`encode` must give the same for the same chunk, and not use it up"
        )


def _without_averaging(model: nn.Module) -> AbstractContextManager[None]:
    """Where the model averages gradients over processes: not this time."""
    no_sync = getattr(model, "no_sync", None)
    return nullcontext() if no_sync is None else no_sync()


def _random_state(model: nn.Module) -> list[Tensor]:
    """Of the processor, then of each CUDA device that the model is on."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in _cuda_devices(model))]


def _set_random_state(model: nn.Module, state: list[Tensor]) -> None:
    torch.set_rng_state(state[0])
    for device, of_device in zip(_cuda_devices(model), state[1:], strict=True):
        torch.cuda.set_rng_state(of_device, device)


def _cuda_devices(model: nn.Module) -> list[torch.device]:
    return sorted({parameter.device for parameter in model.parameters() if parameter.is_cuda}, key=str)
