"""The folder of a run: what it needs to run again, what it went through, and the models it made.

recipe.toml  run.json          every choice; versions, data fingerprint, machine
log.jsonl    tensorboard/      loss, temperature, speed, held-out numbers
skipped.jsonl  diverged.json   pairs that could not be used; pairs of a step whose loss was not a number
states/                        to go on from
tokenizer/                     where one was trained
model/       best.json         the best model by the held-out pairs, and its numbers
last/                          the model after the last step
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from anmok.checkpoints import save_checkpoint
from anmok.files import write_whole
from anmok.train.recipe import write_recipe
from anmok.train.state import StateError, find_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anmok.checkpoints import Checkpoint
    from anmok.train.batches import Skipped
    from anmok.train.recipe import Recipe

__all__ = ["RunFolder"]


class RunFolder:
    """Names and writes the files of a run. The main process writes; others only add what they skip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states = path / "states"
        self.tokenizer = path / "tokenizer"
        self.model = path / "model"
        self.last = path / "last"

    def saved(self, resume: str | None) -> Path | None:
        """The state to go on from, if any (see `find_state`)."""
        return find_state(self.states, resume) if resume else None

    def refuse_strangers(self, resume: str | None, *, data: str, pairs_per_step: int) -> None:
        """Never write over another run, nor go on with other data as if nothing had happened.

        Raises:
            StateError: the folder holds a run and this one does not go on from it, or cannot exactly.
        """
        described = self.path / "run.json"
        if resume is None and (described.exists() or self.states.exists()):
            raise StateError(
                f"{self.path} holds a run already: go on with --resume latest, or name another folder (run.output)"
            )
        if self.saved(resume) is None or not described.exists():
            return
        before = json.loads(described.read_text(encoding="utf-8"))
        if (before["data"], before["pairs_per_step"]) != (data, pairs_per_step):
            raise StateError(
                f"{self.path} was trained on other data, or with {before['pairs_per_step']} pairs per step and not "
                f"{pairs_per_step}: it cannot go on exactly. Start a new run from it instead: model.start = "
                f"'{self.model}', another run.output"
            )

    def begin(self, step: int) -> None:
        """Make the folder, and forget what is told of steps after `step`, from which the run goes on."""
        self.path.mkdir(parents=True, exist_ok=True)
        if step == 0:  # a run that starts anew needs a new tokenizer
            shutil.rmtree(self.tokenizer, ignore_errors=True)
        for name in ("log.jsonl", "skipped.jsonl"):
            _cut(self.path / name, step)

    def describe(self, recipe: Recipe, facts: dict[str, Any]) -> None:
        """`recipe.toml` and `run.json`: what is needed to run it again, and to know what it ran on."""
        write_recipe(recipe, self.path / "recipe.toml")
        _write_json(self.path / "run.json", facts)

    def skipped(self, step: int, pairs: Sequence[Skipped]) -> None:
        """Add pairs of a step that could not be used, each with the reason. Every process of a run does so."""
        if pairs:
            records = [{"step": step, "pair": pair, "kind": kind, "reason": reason} for pair, kind, reason in pairs]
            with (self.path / "skipped.jsonl").open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))

    def count_skipped(self) -> dict[str, int]:
        """How often pairs could not be used, by kind."""
        return dict(Counter(record["kind"] for record in _records(self.path / "skipped.jsonl")))

    def diverged(self, step: int, pairs: Sequence[str]) -> Path:
        """Write down the pairs of the step whose loss was not a number."""
        path = self.path / "diverged.json"
        _write_json(path, {"step": step, "pairs": list(pairs)})
        return path

    def keep_best(self, checkpoint: Checkpoint, step: int, by: str, numbers: dict[str, float]) -> None:
        """Keep the best model so far."""
        save_checkpoint(checkpoint, self.model)
        _write_json(self.path / "best.json", {"step": step, "by": by, "numbers": numbers})

    def keep_last(self, checkpoint: Checkpoint, *, best: bool) -> dict[str, float]:
        """Keep the model after the last step; where none was measured it is also the one to use.

        Returns:
            The numbers of the model to use.
        """
        save_checkpoint(checkpoint, self.last)
        if not best:
            save_checkpoint(checkpoint, self.model)
            return {}
        numbers: dict[str, float] = json.loads((self.path / "best.json").read_text(encoding="utf-8"))["numbers"]
        return numbers


def _records(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one a line; a line that was cut by a kill is left out."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def _cut(path: Path, step: int) -> None:
    """Take away the records of later steps."""
    if path.is_file():
        kept = [record for record in _records(path) if record["step"] <= step]
        write_whole(path, "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in kept).encode())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
