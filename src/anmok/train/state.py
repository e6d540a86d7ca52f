"""The state of a run on disk: everything that going on needs, in one file that appears whole or not at all."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from anmok.errors import AnmokError
from anmok.files import sync_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["StateError", "TrainingState", "find_state", "load_state", "random_state", "restore_random", "save_state"]


class StateError(AnmokError):
    """A saved state cannot be used."""


@dataclass
class TrainingState:
    """Where a run is. With the arrays beside it in the file, all that going on needs.

    `step`, `samples`: done so far; `seconds`: of training, over all sittings.
    `best`: the best held-out number so far with its tie-breaker (see `preferred`).
    """

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    best: list[float] | None = None


def save_state(folder: Path, state: TrainingState, arrays: dict[str, Any], *, keep: int) -> Path:
    """Write `step-00000000.pt` whole, synced to disk, then let go of all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{state.step:08d}.pt"
    unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        torch.save({"state": asdict(state), **arrays}, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(folder)
    for old in sorted(folder.glob("step-*.pt"))[:-keep]:
        old.unlink(missing_ok=True)
    for torn in folder.glob("*.unfinished"):  # of a process that was killed
        torn.unlink(missing_ok=True)
    return path


def find_state(folder: Path, resume: str) -> Path | None:
    """The file that `resume` names: "latest" is the newest one in the folder, or None where there is none yet.

    Raises:
        StateError: a file is named that is not there.
    """
    if resume == "latest":
        return max(folder.glob("step-*.pt"), default=None)
    path = folder / resume
    if not path.is_file():
        there = ", ".join(file.name for file in sorted(folder.glob("step-*.pt"))) or "none"
        raise StateError(f"there is no saved state {resume!r} in {folder}; there are: {there}")
    return path


def load_state(path: Path) -> tuple[TrainingState, dict[str, Any]]:
    """Read a saved state, onto the processor. Nothing but tensors and plain values is unpickled.

    Raises:
        StateError: the file is damaged.
    """
    try:
        arrays = torch.load(path, map_location="cpu", weights_only=True)
        return TrainingState(**arrays.pop("state")), arrays
    except Exception as error:  # a torn zip archive fails in many ways
        raise StateError(
            f"{path} cannot be read ({type(error).__name__}: {error}). Resume from an older one with "
            f"--resume NAME, or take this file away"
        ) from error


def random_state() -> dict[str, Any]:
    """Every random state that training reads."""
    state: dict[str, Any] = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_random(state: dict[str, Any]) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
