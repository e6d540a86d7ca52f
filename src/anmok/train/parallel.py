"""The model spread over processes: DistributedDataParallel, or FSDP2 where one device cannot hold it.

DDP (Li et al. 2020, arXiv 2006.15704) keeps a copy on each process and averages gradients. FSDP2 (`fully_shard`) cuts
every matrix into as many parts as there are processes and brings a block together only while it runs.

The logit scale and bias are used outside of the towers' forward, where neither of the two sees them. They are left to
every process, and their gradients averaged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from anmok.models.modules import DualEncoder
    from anmok.models.weights import Array
    from anmok.train.distributed import World
    from anmok.train.objective import Towers
    from anmok.train.optimizer import Average

__all__ = ["finish_gradients", "full_state", "full_weights", "load_full_state", "wrap"]

SCALARS = ("logit_scale", "logit_bias")


def wrap(towers: Towers, kind: str, world: World) -> nn.Module:
    """The towers ready for this many processes; one process needs nothing."""
    if world.size == 1:
        return towers
    if kind == "fsdp":
        return _shard(towers)
    ignored = [f"model.{name}" for name in SCALARS]
    nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(towers, ignored)  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if next(towers.parameters()).is_cuda else None
    return nn.parallel.DistributedDataParallel(towers, device_ids=devices)


def _shard(towers: Towers) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    from anmok.models.modules.blocks import Block

    towers.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # what it is cut along
    scalars = {parameter for name, parameter in towers.model.named_parameters() if name in SCALARS}
    for module in towers.modules():
        if isinstance(module, Block):
            fully_shard(module)
    fully_shard(towers, ignored_params=scalars)
    return towers


def finish_gradients(model: DualEncoder, most: float, world: World) -> Tensor:
    """Average the gradients of scale and bias over processes, then clip all to a norm of `most` (0: no clipping).

    Returns:
        The norm of all gradients before clipping.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    if world.size > 1:
        for name in SCALARS:
            scalar = getattr(model, name, None)
            if scalar is not None and scalar.grad is not None:
                dist.all_reduce(scalar.grad)
                scalar.grad /= world.size
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # Norms of sharded gradients are sharded numbers: made whole one by one, so that they add up with plain ones.
    norms = [_whole(norm) for norm in torch._foreach_norm(gradients)]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    if most:
        factor = (most / (total + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor)
    return total


def full_weights(model: DualEncoder, average: dict[str, Tensor] | None) -> dict[str, Array]:
    """Name → array of the whole model, or of its moving average. Every process must call it."""
    tensors = average if average is not None else model.state_dict()
    return {name: _whole(tensor.detach()).float().cpu().numpy().copy() for name, tensor in tensors.items()}


def full_state(model: DualEncoder, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, Any]:
    """Everything learned so far, whole and on the processor. Every process must call it."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    if average is not None:
        state["average"] = dict(average.weights)
    return _map(state, lambda tensor: _whole(tensor.detach()).cpu().clone())  # type: ignore[no-any-return]


def load_full_state(
    model: DualEncoder, optimizer: torch.optim.Optimizer, average: Average | None, state: dict[str, Any]
) -> None:
    """The inverse of `full_state`; each process takes its own part."""
    own = dict([*model.named_parameters(), *model.named_buffers()])
    with torch.no_grad():
        for name, tensor in state["model"].items():
            own[name].copy_(_like(tensor, own[name]))
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["optimizer"]["param_groups"] for number in group["params"]]
    for number, parameter in zip(numbers, parameters, strict=True):
        for name, value in state["optimizer"]["state"].get(number, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.ndim:
                state["optimizer"]["state"][number][name] = _like(value, parameter)
    optimizer.load_state_dict(state["optimizer"])
    if average is not None:
        for name, tensor in state["average"].items():
            average.weights[name].copy_(_like(tensor, average.weights[name]))


def _whole(tensor: Tensor) -> Tensor:
    """A tensor that is cut into parts over processes, put together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _like(tensor: Tensor, example: Tensor) -> Tensor:
    """`tensor` on the device of `example`, and cut into parts as that one is."""
    if not hasattr(example, "full_tensor"):
        return tensor.to(example.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(example.device), example.device_mesh, example.placements)  # type: ignore[attr-defined]


def _map(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _map(item, change) for key, item in value.items()}
    return [_map(item, change) for item in value] if isinstance(value, list) else value
