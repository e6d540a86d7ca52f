"""Several processes that train as one, started by torchrun; and the losses of a batch that is spread over them.

Each process holds n of the N = n * processes pairs. A loss here gives each process its own share, such that

- the mean of the shares over processes is the loss of the whole batch in one process, and
- so is the mean of their gradients, for parameters that every process has: DistributedDataParallel takes just that
  mean. The gradient of a process' own vectors is that of the whole batch times the number of processes.

To weigh the loss, multiply it by the same factor in every process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from anmok.errors import SettingsError
from anmok.train.losses import check_pairs, sigmoid_loss, softmax_loss
from anmok.train.tiles import full_precision, group_means, sigmoid_sums, two_way_logsumexp, widened, with_gradients

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["World", "gather_rows", "gathered_softmax_loss", "ring_sigmoid_loss", "start", "stop"]

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")  # what torchrun tells each process …
VARIABLES = (*NUMBERS, "MASTER_ADDR")  # … in these variables


@dataclass(frozen=True)
class World:
    """The processes that train together, seen from one of them. Where there is one, nothing is sent."""

    rank: int  # of this process, from 0
    size: int  # processes in all
    local_rank: int  # of this process among those on the same machine
    device: torch.device  # that this process trains on

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and tells about progress."""
        return self.rank == 0

    def all_mean(self, numbers: Sequence[float]) -> list[float]:
        """The mean over processes of each number; every process must bring as many."""
        means = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        if self.size > 1:
            dist.all_reduce(means)
        return (means / self.size).tolist()

    def barrier(self) -> None:
        """Go on when every process has come here."""
        if self.size > 1:
            dist.barrier()


def start(device_type: str | None = None, *, timeout_s: float = 1800) -> World:
    """Join the other processes that torchrun started, over gloo on processors and NCCL on GPUs.

    Without torchrun's variables this process is alone, and nothing is started.

    Args:
        device_type: "cpu" or "cuda" (alone: any that torch knows); None: CUDA where there is one.
        timeout_s: when to give up waiting for another process.

    Raises:
        SettingsError: the variables are set in part or make no sense, or there is no such device for this process.
    """
    rank, size, local_rank = _places()
    device = _device(device_type or ("cuda" if torch.cuda.is_available() else "cpu"), size, local_rank)
    if size > 1:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            timeout=timedelta(seconds=timeout_s),
            device_id=device if device.type == "cuda" else None,
        )
    return World(rank, size, local_rank, device)


def stop() -> None:
    """Leave the other processes; call it at the end, also after an error."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def _places() -> tuple[int, int, int]:
    """Rank, size and local rank from the environment."""
    found = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    if not found:
        return 0, 1, 0
    way_out = "Start with `torchrun --nproc-per-node=2 …`, which sets all, or unset them to train in one process"
    if missing := [name for name in VARIABLES if name not in found]:
        raise SettingsError(
            f"{', '.join(found)} are set for several processes, but not {', '.join(missing)}. {way_out}"
        )
    if wrong := [f"{name} is {found[name]!r}" for name in NUMBERS if not found[name].isdecimal()]:
        raise SettingsError(f"{', '.join(wrong)}: expected a whole number. {way_out}")
    rank, size, local_rank = (int(found[name]) for name in NUMBERS[:3])
    if not local_rank <= rank < size:
        raise SettingsError(
            f"RANK is {rank}, LOCAL_RANK {local_rank} and WORLD_SIZE {size}: "
            f"expected LOCAL_RANK <= RANK < WORLD_SIZE. {way_out}"
        )
    return rank, size, local_rank


def _device(device_type: str, size: int, local_rank: int) -> torch.device:
    if device_type == "cuda":
        count = torch.cuda.device_count()
        if local_rank >= count:
            raise SettingsError(
                f"process {local_rank} of this machine has no GPU: torch sees {count} here. "
                f"Start at most {count} processes on it, or train on the processor"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
        return device
    if device_type != "cpu" and size > 1:
        raise SettingsError(f"several processes can train on cpu or cuda, not on {device_type}: use one process")
    return torch.device(device_type)


# --- losses ----------------------------------------------------------------------------------


def gathered_softmax_loss(
    pictures: Tensor, texts: Tensor, scale: Tensor, *, groups: Tensor | None = None, tile: int | None = None
) -> Tensor:
    """This process' share of `softmax_loss` over the pairs of all processes; see the head of this file.

    Every process gathers all texts and scores its own pictures against them, n * N logits, which gives it whole rows
    and a part of each column. The parts of a column, a number each, are sent to the process whose text it is;
    gradients of texts are sent home and summed there. So each logit is made by one process, and pictures stay where
    they are; with open_clip's `local_loss` two processes make it, and both kinds of vectors are gathered.

    Args:
        pictures: of unit length, of this process, [n, d]; n must be the same in every process.
        texts: of unit length, [n, d]; text i is true of picture i.
        scale: multiplies the cosines.
        groups: int64 [n]; pairs of one group, of any process, are true of each other too.
        tile: rows and columns of the logits that are held at once; None: all n * N.

    Raises:
        ValueError: shapes do not fit together, here or between processes.
    """
    check_pairs(pictures, texts, groups, tile)
    if _size() == 1:
        return softmax_loss(pictures, texts, scale, groups=groups, tile=tile)
    _check_even(pictures, groups)
    n, rank = len(pictures), dist.get_rank()
    with full_precision(pictures):
        pictures, texts, scale = widened(pictures, texts, scale)
        every = gather_rows(texts)  # [N, d]
        every_group = None if groups is None else gather_rows(groups)
        rows, parts = two_way_logsumexp(scale * pictures, every, tile=tile or len(every))  # [n], [N]
        own_parts: Tensor = _Exchange.apply(parts.view(-1, n))  # type: ignore[no-untyped-call]
        columns = own_parts.logsumexp(dim=0)  # from [processes, n] to [n]
        true_texts = group_means(every, every_group)[rank * n : (rank + 1) * n]
        true = scale * (pictures * true_texts).sum(dim=1)
        return ((rows + columns) / 2 - true).mean()


def ring_sigmoid_loss(
    pictures: Tensor,
    texts: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    groups: Tensor | None = None,
    tile: int | None = None,
) -> Tensor:
    """This process' share of `sigmoid_loss` over the pairs of all processes; see the head of this file.

    The processes stand in a ring. Each scores its pictures against its texts, n * n logits, then hands the texts to
    its neighbour, and so on until they are home. The gradient of a text is known with its logits, so it travels with
    the text and is whole when it comes home: the backward pass sends nothing.

    Args:
        pictures: of unit length, of this process, [n, d]; n must be the same in every process.
        texts: of unit length, [n, d]; text i is true of picture i.
        scale: multiplies the cosines.
        bias: is added.
        groups: int64 [n]; pairs of one group, of any process, are true of each other too.
        tile: rows and columns of the logits that are held at once; None: all n * n.

    Raises:
        ValueError: shapes do not fit together, here or between processes.

    Source: Zhai et al. 2023 (arXiv 2303.15343), section 3.3.
    """
    check_pairs(pictures, texts, groups, tile)
    if _size() == 1:
        return sigmoid_loss(pictures, texts, scale, bias, groups=groups, tile=tile)
    _check_even(pictures, groups)
    n = len(pictures)
    with full_precision(pictures):
        pictures, texts, scale, bias = widened(pictures, texts, scale, bias)
        if groups is None:
            groups = torch.arange(n, device=pictures.device) + dist.get_rank() * n
        queries = scale * pictures
        total, gradients = _around_the_ring(queries, texts, bias, groups, tile or n)
        return with_gradients(total, (queries, texts, bias), gradients) / n


@torch.no_grad()
def _around_the_ring(
    queries: Tensor, texts: Tensor, bias: Tensor, groups: Tensor, tile: int
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The sum over this process' pictures and all texts; gradients of its queries, its texts and the bias."""
    total, d_bias = torch.zeros_like(bias), torch.zeros_like(bias)
    d_queries = torch.zeros_like(queries)
    visiting, d_visiting, visiting_groups = texts, torch.zeros_like(texts), groups
    for _ in range(_size()):
        part, gradients = sigmoid_sums(queries, visiting, bias, groups, visiting_groups, tile=tile)
        total += part
        d_queries += gradients[0]
        d_visiting = d_visiting + gradients[1]
        d_bias += gradients[2]
        visiting, d_visiting, visiting_groups = _hand_on(visiting, d_visiting, visiting_groups)
    return total, (d_queries, d_visiting, d_bias)


def _hand_on(*tensors: Tensor) -> list[Tensor]:
    """Give tensors to the next process of the ring; returns those of the one before."""
    rank, size = dist.get_rank(), _size()
    received = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors]
    sends = [dist.P2POp(dist.isend, tensor.contiguous(), (rank + 1) % size) for tensor in tensors]
    receives = [dist.P2POp(dist.irecv, tensor, (rank - 1) % size) for tensor in received]
    for request in dist.batch_isend_irecv(sends + receives):
        request.wait()
    return received


# torch.distributed.nn has such functions too, but deprecated ones.


def gather_rows(own: Tensor) -> Tensor:
    """[n, …] of each process → [N, …] in each; gradients are summed where the rows came from."""
    every: Tensor = _GatherRows.apply(own)  # type: ignore[no-untyped-call]
    return every


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        every = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(_size())]
        dist.all_gather(every, own.contiguous())
        return torch.cat(every)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_every: Tensor) -> Tensor:
        return _exchange(d_every.view(_size(), -1, *d_every.shape[1:])).sum(dim=0)


class _Exchange(torch.autograd.Function):
    """[processes, …] → [processes, …]: row k goes to process k, and what comes from process k is row k."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        return _exchange(rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_rows: Tensor) -> Tensor:
        return _exchange(d_rows)


def _exchange(rows: Tensor) -> Tensor:
    received = torch.empty_like(rows, memory_format=torch.contiguous_format)
    dist.all_to_all_single(received, rows.contiguous())
    return received


def _check_even(pictures: Tensor, groups: Tensor | None) -> None:
    """Unequal processes would wait for each other for ever, or mix up rows."""
    own = torch.tensor([*pictures.shape, groups is not None], device=pictures.device)
    every = [torch.empty_like(own) for _ in range(_size())]
    dist.all_gather(every, own)
    if any(not torch.equal(other, own) for other in every):
        shapes = "; ".join(
            f"{n} of {d} dimensions{' in groups' if g else ''}" for n, d, g in torch.stack(every).tolist()
        )
        raise ValueError(
            f"every process must bring as many pairs, and all of them groups or none; by rank: {shapes}. "
            "Choose a batch that the processes divide, and leave out the last, incomplete one"
        )


def _size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
