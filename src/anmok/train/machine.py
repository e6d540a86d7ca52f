"""What the machine offers: a device, a precision, and processes to read with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from anmok.train.recipe import PRECISIONS, RecipeError

if TYPE_CHECKING:
    from anmok.train.recipe import RunConfig

__all__ = ["choose_device", "choose_precision", "choose_workers"]


def choose_device(config: RunConfig, local_rank: int = 0) -> torch.device:
    """The device that was named, or the best there is: a GPU, else the processor.

    Raises:
        RecipeError: it is not there.
    """
    if config.device == "auto":
        return torch.device("cuda", local_rank) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(config.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise RecipeError(f"run.device {config.device!r} cannot be used: {error}") from error
    return device


def choose_precision(config: RunConfig, device: torch.device) -> torch.dtype:
    """What matrices are multiplied in. "auto" is bfloat16 where the machine computes in it: emulated it is slow."""
    wanted = PRECISIONS[config.precision]
    if wanted == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _processor_has_bf16()
        return torch.bfloat16 if fast else torch.float32
    return {"fp32": torch.float32, "amp_bf16": torch.bfloat16, "amp_fp16": torch.float16}[wanted]


def _processor_has_bf16() -> bool:
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def choose_workers(config: RunConfig, device: torch.device, cores: int, processes: int) -> int:
    """Processes that read pictures: on a GPU most of the cores, on the processor one beside the training."""
    if config.workers >= 0:
        return config.workers
    return max(1, min(8, cores // processes - 1)) if device.type == "cuda" else 1
