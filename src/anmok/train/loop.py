"""The training loop: one visible `for step`, from batch to saved state.

    recipe ─▶ data, model, objective, optimizer
    for step: batches ─▶ loss ─▶ backward ─▶ clip ─▶ optimizer ─▶ log ─▶ evaluate ─▶ save

It runs on the processor, on one GPU, and as N processes under `torchrun` (DistributedDataParallel, or FSDP2 for
models that do not fit one device). On the processor a run that was killed and resumed gives bit for bit the weights of
one that was not.
"""

from __future__ import annotations

import math
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anmok import __version__, progress
from anmok.checkpoints import Checkpoint
from anmok.processor import processor_name, usable_cores
from anmok.settings import settings
from anmok.train import parallel
from anmok.train.batches import PairBatches, load_batches
from anmok.train.cached import cached_backward
from anmok.train.data import open_data
from anmok.train.distributed import start, stop
from anmok.train.evaluators import measure, preferred
from anmok.train.folder import RunFolder
from anmok.train.log import Log
from anmok.train.losses import clamp_scale
from anmok.train.machine import choose_device, choose_precision, choose_workers
from anmok.train.objective import CheckpointTeacher, Objective, Towers, open_teacher
from anmok.train.optimizer import Average, adamw, learning_rate, lock
from anmok.train.recipe import Recipe, RecipeError
from anmok.train.start import module_of, new_model
from anmok.train.state import (
    TrainingState,
    load_state,
    random_state,
    restore_random,
    save_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anmok.checkpoints import Checkpoint
    from anmok.train.batches import Batch
    from anmok.train.distributed import World
    from anmok.train.order import Place

__all__ = ["Diverged", "TrainingResult", "train"]


class Diverged(RecipeError):
    """The loss is not a number any more."""


@dataclass(frozen=True)
class TrainingResult:
    """What a run made.

    `model`: folder of the final model, or of the best one where held-out pairs said so; `anmok.load` takes it.
    `numbers`: of that model on the held-out pairs.
    `skipped`: pairs that could not be used, counted by kind.
    """

    model: Path
    steps: int
    samples: int
    seconds: float
    numbers: dict[str, float]
    skipped: dict[str, int]


def train(
    recipe: Recipe, *, resume: str | None = None, listener: Callable[[dict[str, Any]], None] | None = None
) -> TrainingResult:
    """Run a recipe.

    Args:
        recipe: every choice (see `anmok.train.recipe`).
        resume: "latest" or the name of a saved state; None starts anew.
        listener: takes each record of the log as it is written.

    Raises:
        RecipeError: the recipe, its data or its model cannot be used; says why before anything is written.
        Diverged: the loss is not a number any more; names the step and the last saved state.
        StateError: there is a run in the folder already, or its state cannot be read.
    """
    world = start(choose_device(recipe.run).type)
    try:
        return _Run(recipe, world, resume, listener).train()
    finally:
        stop()


class _Run:
    """One run on one process: made ready by `__init__`, gone through by `train`."""

    def __init__(
        self,
        recipe: Recipe,
        world: World,
        resume: str | None,
        listener: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        self.recipe, self.world, self.listener = recipe, world, listener
        self.folder = RunFolder(Path(recipe.run.output))
        self.device = choose_device(recipe.run, world.local_rank)
        self.precision = choose_precision(recipe.run, self.device)
        if self.device.type == "cpu" and settings().threads:
            torch.set_num_threads(settings().threads)

        # --- data
        self.data = open_data(recipe)
        self.batch = recipe.run.batch_size * recipe.run.accum_freq * world.size  # pairs of a step
        if self.batch > self.data.order.length:
            raise RecipeError(
                f"a step has {self.batch} pairs and there are {self.data.order.length} to train on: give more "
                "pairs, or a smaller run.batch_size (or run.accum_freq)"
            )
        self.epoch_steps = self.data.order.length // self.batch
        self.steps = recipe.run.steps or max(1, round(recipe.run.epochs * self.epoch_steps))
        self.cooldown = 0
        if recipe.optimizer.lr_scheduler == "const-cooldown":
            self.cooldown = min(self.steps, round(recipe.optimizer.epochs_cooldown * self.epoch_steps))

        # --- the folder, and a saved state if the run goes on
        saved = self.folder.saved(resume)
        self.state, arrays = load_state(saved) if saved else (TrainingState(), None)
        if world.is_main:
            self.folder.refuse_strangers(resume, data=self.data.fingerprint, pairs_per_step=self.batch)
            self.folder.begin(self.state.step)
        world.barrier()

        # --- model
        self.checkpoint = self._checkpoint()
        self.model = module_of(self.checkpoint, self.device)
        self.model.set_gradient_checkpointing(recipe.run.grad_checkpointing)
        lock(self.model, recipe.model)
        transform = self.checkpoint.transform
        self.towers = Towers(self.model, transform.mean, transform.std).to(self.device)
        self.forward = parallel.wrap(self.towers, recipe.run.parallel, world)
        self.optimizer = adamw(self.model, recipe.optimizer)
        self.average = Average(self.model, recipe.run.ema) if recipe.run.ema else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)
        self.teacher = open_teacher(recipe.loss, self.checkpoint.spec.dimension, self.device, self.precision)
        self.objective = Objective(recipe.loss, self.checkpoint.spec.score, processes=world.size, teacher=self.teacher)
        if arrays is not None:
            self._restore(arrays)

    def train(self) -> TrainingResult:
        """Go on from the present state to the last step."""
        if not self.world.is_main:
            return self._train(None)
        facts = self._facts()
        self.folder.describe(self.recipe, facts)
        with Log(self.folder.path, self.listener) as log:
            self._tell(log, "start", **facts)
            result = self._train(log)
            self._tell(log, "end", **result.numbers)
        return result

    def _train(self, log: Log | None) -> TrainingResult:
        """The loop."""
        state, run = self.state, self.recipe.run
        batches = self._batches()
        losses: list[float] = []  # of the steps since the last line of the log
        unread: list[tuple[Tensor, list[str]]] = []  # losses that are still on the device, and the pairs of their steps
        clock = time.monotonic()
        logged_at, logged_samples = state.seconds, state.samples
        if state.step == 0 and (self.recipe.model.start or run.best):
            self._evaluate(log)  # what there is to beat, and kept if nothing does; a wrong run.best is refused here
        with progress.task("training", self.steps) as advance:
            advance(state.step)
            while state.step < self.steps:
                # --- one step
                chunks = [next(batches) for _ in range(run.accum_freq)]
                rate = learning_rate(state.step, self.steps, self.recipe.optimizer, cooldown_steps=self.cooldown)
                unread.append((self._step(chunks, rate), [name for chunk in chunks for name in chunk.names]))

                # --- where we are
                state.step += 1
                state.samples += self.batch
                self.folder.skipped(state.step, [one for chunk in chunks for one in chunk.skipped])
                last = state.step == self.steps
                intervals = (run.log_every, run.evaluate_every or self.epoch_steps, run.save_every)
                logs, evaluates, saves = (last or state.step % interval == 0 for interval in intervals)
                if logs or evaluates or saves or self.device.type == "cpu":  # a GPU need not wait at every step
                    losses += self._read(unread)
                    unread.clear()
                state.seconds += time.monotonic() - clock
                clock = time.monotonic()

                # --- log, evaluate, save
                if logs:
                    speed = (state.samples - logged_samples) / max(1e-9, state.seconds - logged_at)
                    logged_at, logged_samples = state.seconds, state.samples
                    self._tell(log, "train", **self._progress(losses, rate, speed))
                    losses.clear()
                advance(1)
                if evaluates:
                    self._evaluate(log)
                if saves:
                    self._save()
                clock = time.monotonic()  # only training counts
        return self._finish()

    def _step(self, chunks: Sequence[Batch], rate: float) -> Tensor:
        """Loss, gradients, clipping and the change of the weights. Several chunks train as one batch, exactly.

        Returns:
            The loss; not a number where a gradient is not one.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        chunks = [chunk.to(self.device) for chunk in chunks]
        groups = torch.cat([chunk.groups for chunk in chunks])
        taught = self._taught(chunks)

        def encode(chunk: Batch) -> tuple[Tensor, Tensor]:
            with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
                vectors: tuple[Tensor, Tensor] = self.forward(chunk.pixels[0], chunk.ids[0], chunk.rows)
            return vectors

        def objective(pictures: Tensor, texts: Tensor) -> Tensor:
            bias = self.model.logit_bias if self.model.spec.logit_bias else None
            return self.objective((pictures, texts), self.model.logit_scale.exp(), bias, groups, taught)

        def backward(loss: Tensor) -> None:
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

        if len(chunks) == 1:
            loss = objective(*encode(chunks[0]))
            backward(loss)
        else:
            loss = cached_backward(encode, chunks, objective, model=self.forward, backward=backward)
        self.scaler.unscale_(self.optimizer)
        norm = parallel.finish_gradients(self.model, self.recipe.optimizer.grad_clip_norm, self.world)
        self.scaler.step(self.optimizer)  # leaves a step out whose fp16 gradients overflowed
        self.scaler.update()
        clamp_scale(self.model.logit_scale, self.recipe.optimizer.scale_most)
        if self.average is not None:
            self.average.follow(self.model, self.state.step)
        return loss.detach() if self.scaler.is_enabled() else loss.detach() + 0 * norm

    def _taught(self, chunks: Sequence[Batch]) -> tuple[Tensor | None, Tensor | None]:
        """The teacher's vectors of all chunks."""
        if self.teacher is None:
            return None, None
        pictures, texts = zip(*(self.teacher.vectors(chunk) for chunk in chunks), strict=True)
        return _joined(pictures), _joined(texts)

    # --- batches

    def _batches(self) -> Iterator[Batch]:
        """Every batch that this process still has to learn from, in order."""
        transforms, tokenizers = [self.checkpoint.transform], [self.checkpoint.tokenizer]
        if isinstance(self.teacher, CheckpointTeacher):
            transforms.append(self.teacher.checkpoint.transform)
            tokenizers.append(self.teacher.checkpoint.tokenizer)
        dataset = PairBatches(
            self.data.source,
            transforms=transforms,
            tokenizers=tokenizers,
            augmentation=self.recipe.augment,
            captions=self.recipe.data.captions,
            positives=self.recipe.loss.positives,
            seed=self.recipe.run.seed,
            allowed=self.data.allowed,
        )
        workers = choose_workers(self.recipe.run, self.device, usable_cores(), self.world.size)
        return load_batches(dataset, self._places(), workers=workers, pin_memory=self.device.type == "cuda")

    def _places(self) -> Iterator[Place]:
        """This process's part of every step from the present place on: `accum_freq` batches of `batch_size`."""
        run = self.recipe.run
        epoch, done = divmod(self.state.step, self.epoch_steps)
        while True:
            for step in self.data.order.batches(epoch, self.batch, first=done * self.batch):
                for chunk in range(run.accum_freq):
                    offset = (self.world.rank * run.accum_freq + chunk) * run.batch_size
                    part = step.indices[offset : offset + run.batch_size]
                    yield replace(step, first=step.first + offset, indices=part)
            epoch, done = epoch + 1, 0

    # --- numbers

    def _read(self, unread: Sequence[tuple[Tensor, list[str]]]) -> list[float]:
        """The losses of some steps, each the mean over processes.

        Raises:
            Diverged: one is not a number; names the step, its pairs (in a file), and the state to go on from.
        """
        losses = self.world.all_mean([float(loss) for loss, _ in unread])
        first = self.state.step - len(losses) + 1
        for step, (loss, (_, names)) in enumerate(zip(losses, unread, strict=True), start=first):
            if math.isfinite(loss):
                continue
            where = self.folder.diverged(step, names) if self.world.is_main else self.folder.path
            saved = self.folder.saved("latest")
            raise Diverged(
                f"the loss is {loss} at step {step}; nothing was saved after it. The pairs of that step are in "
                f"{where}. Go on from {saved.name if saved else 'the start'} with a lower optimizer.lr, a longer "
                "optimizer.warmup, or run.precision = 'fp32'"
            )
        return losses

    def _progress(self, losses: Sequence[float], rate: float, speed: float) -> dict[str, float]:
        values = {
            "loss": sum(losses) / len(losses),
            "scale": float(self.model.logit_scale.detach().exp()),
            "lr": rate,
            "pairs_per_s": round(speed, 2),
            "epoch": round(self.state.step / self.epoch_steps, 3),
            "left_s": round((self.steps - self.state.step) * self.batch / max(speed, 1e-9)),
        }
        if self.model.spec.logit_bias:
            values["bias"] = float(self.model.logit_bias.detach())
        return values

    def _evaluate(self, log: Log | None) -> None:
        """Measure the held-out pairs; keep the model if it is the best so far. Other processes wait."""
        if not (self.data.validation or self.recipe.data.evaluate):
            return
        checkpoint = self._present()
        if self.world.is_main:
            numbers = dict(measure(checkpoint, self.data.validation, self.recipe.data.evaluate, batch_size=self.batch))
            self._tell(log, "evaluate", **numbers)
            found = preferred(numbers, self.recipe.run.best)
            if found is None and self.recipe.run.best:
                raise RecipeError(f"run.best is {self.recipe.run.best!r}; measured were: {', '.join(numbers)}")
            if found is not None and (self.state.best is None or found[0] > self.state.best):
                self.state.best = found[0]
                self.folder.keep_best(checkpoint, self.state.step, found[1], numbers)
        self.world.barrier()

    # --- what stays on disk

    def _checkpoint(self) -> Checkpoint:
        """The model to start from; the main process makes the tokenizer, the others read it."""
        if self.world.is_main:
            checkpoint = new_model(self.recipe, self.data, self.folder.tokenizer)
        self.world.barrier()
        return checkpoint if self.world.is_main else new_model(self.recipe, self.data, self.folder.tokenizer)

    def _facts(self) -> dict[str, Any]:
        parameters = sum(one.numel() for one in self.model.parameters())
        trained = sum(one.numel() for one in self.model.parameters() if one.requires_grad)
        return {
            "data": self.data.fingerprint,
            "pairs": self.data.order.length,
            "held_out": len(self.data.validation),
            "problems": self.data.problems,
            "pairs_per_step": self.batch,
            "steps": self.steps,
            "steps_per_epoch": self.epoch_steps,
            "parameters": parameters,
            "trained": trained,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else processor_name(),
            "processes": self.world.size,
            "precision": str(self.precision).removeprefix("torch."),
            "anmok": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "command": sys.argv,
        }

    def _present(self) -> Checkpoint:
        """The model of this moment (the moving average, where there is one) as a checkpoint."""
        weights = parallel.full_weights(self.model, self.average.weights if self.average else None)
        return replace(self.checkpoint, name=self.folder.path.name, weights=weights, folder=None)

    def _save(self) -> None:
        arrays = parallel.full_state(self.model, self.optimizer, self.average)
        if self.world.is_main:
            arrays |= {"scaler": self.scaler.state_dict(), "random": random_state()}
            save_state(self.folder.states, self.state, arrays, keep=self.recipe.run.keep)
        self.world.barrier()

    def _restore(self, arrays: dict[str, Any]) -> None:
        parallel.load_full_state(self.model, self.optimizer, self.average, arrays)
        self.scaler.load_state_dict(arrays["scaler"])
        restore_random(arrays["random"])

    def _finish(self) -> TrainingResult:
        state, checkpoint = self.state, self._present()
        numbers = self.folder.keep_last(checkpoint, best=state.best is not None) if self.world.is_main else {}
        self.world.barrier()
        return TrainingResult(
            self.folder.model, state.step, state.samples, state.seconds, numbers, self.folder.count_skipped()
        )

    def _tell(self, log: Log | None, kind: str, **values: Any) -> None:
        if log is not None:
            log.write(kind, self.state.step, **values)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Of all chunks; a teacher that knows none of them gives None for each."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None
