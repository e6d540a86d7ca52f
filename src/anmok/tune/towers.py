"""Fine-tuning from examples of classes: pictures and their classes' texts → better towers.

    for step: pictures ─▶ picture tower ─▶ P          P, T of unit length
              texts of every class ─▶ text tower ─▶ T
              cross-entropy(exp(t) · P Tᵀ, classes) ─▶ backward ─▶ AdamW

Each picture has exactly one class, so the loss is a softmax over the classes for SigLIP as well: its bias is the same
for all of them and falls out, and its sigmoids would only be asked in which of all classes a picture is. The
temperature stays as it is, so that scores go on meaning what they meant.

Batch norms keep their statistics too: those of a handful of pictures are others, and weights could not be interpolated.

Sources: CLIP-LoRA (Zanella and Ben Ayed 2024, arXiv 2405.18541); LiT (Zhai et al. 2022, arXiv 2111.07991) for a locked
tower.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anmok import progress
from anmok.models.modules.lora import add_lora, low_rank_changes
from anmok.train.machine import choose_device, choose_precision
from anmok.train.optimizer import adamw, learning_rate, lock
from anmok.train.order import Order
from anmok.train.recipe import ModelConfig, OptimizerConfig, RunConfig
from anmok.train.start import module_of
from anmok.train.state import TrainingState, find_state, load_state, random_state, restore_random, save_state
from anmok.tune.adapter import Adapter, merge
from anmok.tune.adapter_files import save_adapter
from anmok.tune.class_texts import ClassTexts
from anmok.tune.examples import Examples
from anmok.tune.settings import TowerSettings, TuneError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.embeddings import Failure
    from anmok.models.modules import DualEncoder
    from anmok.pictures import PictureSource

__all__ = ["TunedTowers", "TuningFacts", "tune_towers"]


TEXTS = 256  # encoded at once


@dataclass(frozen=True)
class TuningFacts:
    """What tuning took.

    `parameters`: numbers that were trained, of `of` in the model.
    `optimizer_bytes`: what the optimizer kept of them.
    `peak_memory_mb`: the most that this process has held so far (on a GPU: that it held there); None where the
        system does not tell.
    `seconds`: of training, over all sittings. `loss`: the mean over the last tenth of the steps.
    `failed`: pictures that could not be used.
    """

    parameters: int
    of: int
    optimizer_bytes: int
    peak_memory_mb: float | None
    seconds: float
    steps: int
    loss: float
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True, eq=False)
class TunedTowers:
    """The tuned model, an ordinary checkpoint, and with LoRA the adapter that makes it from the old one."""

    checkpoint: Checkpoint
    adapter: Adapter | None
    facts: TuningFacts


def tune_towers(
    checkpoint: Checkpoint,
    pictures: Sequence[PictureSource],
    targets: NDArray[np.int64] | Sequence[int],
    class_texts: Sequence[Sequence[str]],
    *,
    settings: TowerSettings | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
) -> TunedTowers:
    """Train towers on examples of classes. The same seed gives the same model, to the bit on one machine.

    Args:
        checkpoint: what to start from; it is not changed.
        pictures: n paths, bytes, PIL pictures or arrays. Those that cannot be read are left out, and listed.
        targets: class of each picture, int [n], 0 … m-1.
        class_texts: the texts of each of the m classes, such as a label in every template; a class is their mean.
        settings: what trains, and how.
        seed: of everything that is random.
        folder: where states are saved, and the adapter; a run that was stopped goes on from there.

    Raises:
        TuneError: the inputs do not fit together, the folder holds another run, or the loss diverged.
        StateError: a saved state cannot be read.
    """
    settings = settings or TowerSettings()
    checked = _checked(checkpoint, pictures, targets, class_texts)
    run = RunConfig(device=settings.device, precision=settings.precision)
    device = choose_device(run)
    with _own_random_numbers(device, seed):
        ready = _Run(
            checkpoint,
            pictures=pictures,
            targets=checked,
            class_texts=class_texts,
            settings=settings,
            seed=seed,
            folder=folder,
            device=device,
            run=run,
        )
        return ready.train()


class _Run:
    """One run: made ready by `__init__`, gone through by `train`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        pictures: Sequence[PictureSource],
        targets: NDArray[np.int64],
        class_texts: Sequence[Sequence[str]],
        settings: TowerSettings,
        seed: int,
        folder: str | Path | None,
        device: torch.device,
        run: RunConfig,
    ) -> None:
        self.checkpoint, self.settings, self.seed, self.device = checkpoint, settings, seed, device
        self.folder = None if folder is None else Path(folder)
        self.precision = choose_precision(run, device)

        # --- model
        self.model = module_of(checkpoint, device)
        _choose_what_trains(self.model, settings)
        self.trained = {name: one for name, one in self.model.named_parameters() if one.requires_grad}
        self.config = OptimizerConfig(lr=settings.rate, wd=settings.wd, warmup=settings.warmup)
        self.optimizer = adamw(self.model, self.config)

        # --- data
        image_trains, text_trains = (
            any(name.startswith(tower) for name in self.trained) for tower in ("image.", "text.")
        )
        self.examples = Examples(pictures, targets, checkpoint.transform, settings.augment if image_trains else None)
        self.targets = torch.from_numpy(self.examples.targets).to(device)
        self.texts = ClassTexts(checkpoint.tokenizer, class_texts)
        self.batch = min(settings.batch_size, len(self.examples))
        self.order = Order([[len(self.examples)]], seed=seed)
        self.vectors = None if image_trains else self._encode_all_pictures()  # a locked tower sees each picture once
        self.classes: Tensor | None = None
        if not text_trains:
            with torch.no_grad():
                self.classes = self._encode_classes(*self.texts.all())

        # --- a saved state, if the run goes on
        self.state = TrainingState()
        self.losses: list[float] = []
        self.identity = self._identity(class_texts)
        if self.folder is not None and (saved := find_state(self.folder / "states", "latest")) is not None:
            self._restore(saved)

    def train(self) -> TunedTowers:
        """Go on from the present state to the last step."""
        state, steps = self.state, self.settings.steps
        clock = time.monotonic()
        batches = self._batches()
        with progress.task("tuning", steps) as advance:
            advance(state.step)
            while state.step < steps:
                rate = learning_rate(state.step, steps, self.config)
                loss = self._step(*next(batches), rate)
                if not math.isfinite(loss):
                    raise TuneError(
                        f"the loss is {loss} at step {state.step + 1}: take a lower lr than {self.config.lr:g}"
                    )
                self.losses.append(loss)
                state.step += 1
                state.samples += self.batch
                advance(1)
                if self.folder is not None and (state.step == steps or state.step % self.settings.save_every == 0):
                    state.seconds, clock = state.seconds + time.monotonic() - clock, time.monotonic()
                    self._save()
        state.seconds += time.monotonic() - clock
        return self._result()

    def _step(self, epoch: int, first: int, rows: NDArray[np.int64], rate: float) -> float:
        """Loss, gradients, clipping and the change of the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        if self.vectors is None:
            pictures = self._encode_image(self.examples.batch(rows, (self.seed, epoch, first)))
        else:
            pictures = self.vectors[rows]
        classes = self.classes
        if classes is None:
            random = np.random.default_rng((self.seed, self.state.step, 0x7E))
            classes = self._encode_classes(*self.texts.drawn(self.settings.texts_per_step, random))
        loss = F.cross_entropy(self.model.logit_scale.exp() * pictures @ classes.T, self.targets[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.values(), self.config.grad_clip_norm)
        self.optimizer.step()
        return float(loss.detach())

    def _batches(self) -> Iterator[tuple[int, int, NDArray[np.int64]]]:
        """Epoch, place and rows of every step from the present one on."""
        epoch, done = divmod(self.state.step, len(self.examples) // self.batch)
        while True:
            for place in self.order.batches(epoch, self.batch, first=done * self.batch):
                yield epoch, place.first, place.indices
            epoch, done = epoch + 1, 0

    # --- encoding

    def _encode_image(self, inputs: dict[str, Tensor]) -> Tensor:
        inputs = {name: value.to(self.device) for name, value in inputs.items()}
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            vectors = self.model.encode_image(inputs.pop("pixels"), **inputs)
        return F.normalize(vectors.float(), dim=-1)

    def _encode_classes(self, ids: Tensor, means: Tensor) -> Tensor:
        """Texts [t, l] and how they make classes [m, t] → a unit vector per class [m, d]."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            vectors = torch.cat([self.model.encode_text(some.to(self.device)) for some in torch.split(ids, TEXTS)])
        return F.normalize(means.to(self.device) @ F.normalize(vectors.float(), dim=-1), dim=-1)

    @torch.no_grad()
    def _encode_all_pictures(self) -> Tensor:
        with progress.task("encoding pictures", len(self.examples)) as advance:
            parts = []
            for inputs in self.examples.all(self.settings.batch_size):
                parts.append(self._encode_image(inputs))
                advance(len(parts[-1]))
        return torch.cat(parts)

    # --- what stays

    def _save(self) -> None:
        assert self.folder is not None
        arrays = {
            "identity": self.identity,
            "trained": {name: value.detach() for name, value in self.trained.items()},
            "optimizer": self.optimizer.state_dict(),
            "random": random_state(),
            "losses": self.losses,
        }
        save_state(self.folder / "states", self.state, arrays, keep=2)

    def _restore(self, saved: Path) -> None:
        state, arrays = load_state(saved)
        if arrays.get("identity") != self.identity:
            raise TuneError(
                f"{saved.parent.parent} holds a run of another model, other pictures or texts, settings or seed: "
                "choose another folder, or empty this one"
            )
        self.state, self.losses = state, arrays["losses"]
        with torch.no_grad():
            for name, value in arrays["trained"].items():
                self.trained[name].copy_(value)
        self.optimizer.load_state_dict(arrays["optimizer"])
        restore_random(arrays["random"])

    def _identity(self, class_texts: Sequence[Sequence[str]]) -> str:
        """What makes two runs the same. How often states are saved does not."""
        settings = asdict(replace(self.settings, save_every=1, device="auto"))
        parts = [self.checkpoint.fingerprint, settings, self.seed, [list(texts) for texts in class_texts]]
        return sha256(json.dumps([*parts, self.examples.digest()]).encode()).hexdigest()

    def _result(self) -> TunedTowers:
        adapter = None
        if self.settings.method == "lora":
            changes = {
                name: (down.cpu().numpy(), up.cpu().numpy())
                for name, (down, up) in low_rank_changes(self.model).items()
            }
            settings = self.settings
            adapter = Adapter(changes, settings.rank, settings.alpha, settings.dropout, self.checkpoint.fingerprint)
            tuned = merge(self.checkpoint, adapter)
            if self.folder is not None:
                save_adapter(adapter, self.folder / "adapter", self.checkpoint.spec)
        else:
            arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in self.trained.items()}
            tuned = replace(self.checkpoint, weights=dict(self.checkpoint.weights) | arrays, folder=None)
        return TunedTowers(tuned, adapter, self._facts())

    def _facts(self) -> TuningFacts:
        kept = [one for state in self.optimizer.state.values() for one in state.values() if isinstance(one, Tensor)]
        last = self.losses[-max(1, len(self.losses) // 10) :]
        trained = sum(one.numel() for one in self.trained.values())
        frozen = sum(one.numel() for one in self.model.parameters() if not one.requires_grad)
        return TuningFacts(
            parameters=trained,
            of=frozen if self.settings.method == "lora" else frozen + trained,
            optimizer_bytes=sum(one.numel() * one.element_size() for one in kept),
            peak_memory_mb=_peak_memory(self.device),
            seconds=self.state.seconds,
            steps=self.state.step,
            loss=sum(last) / len(last) if last else math.nan,
            failed=tuple(self.examples.failed),
        )


def _choose_what_trains(model: DualEncoder, settings: TowerSettings) -> None:
    chosen: list[Literal["image", "text"]] = []
    chosen += ["image"] if settings.image else []
    chosen += ["text"] if settings.text else []
    if settings.method == "lora":
        maps, rank, alpha, dropout = settings.maps, settings.rank, settings.alpha, settings.dropout
        if not add_lora(model, maps=maps, rank=rank, alpha=alpha, dropout=dropout, towers=chosen):
            raise TuneError(f"the {' and '.join(chosen)} tower of this model has none of the maps {', '.join(maps)}")
        model.eval()
        for module in model.modules():
            module.train(isinstance(module, nn.Dropout))
        return
    last = settings.last if settings.method == "last" else 0
    lock(
        model,
        ModelConfig(
            lock_image=not settings.image or last > 0,
            lock_image_unlocked_groups=last if settings.image else 0,
            lock_text=not settings.text or last > 0,
            lock_text_unlocked_layers=last if settings.text else 0,
        ),
    )
    model.logit_scale.requires_grad_(False)
    if model.spec.logit_bias:
        model.logit_bias.requires_grad_(False)
    model.eval()


def _checked(
    checkpoint: Checkpoint,
    pictures: Sequence[PictureSource],
    targets: NDArray[np.int64] | Sequence[int],
    class_texts: Sequence[Sequence[str]],
) -> NDArray[np.int64]:
    """The targets as int64 [n]; every problem with the inputs is named."""
    given = np.asarray(targets)
    whole = given.ndim == 1 and (given.dtype.kind in "iu" or not len(given))
    rules = [
        (checkpoint.exports is not None, f"{checkpoint.name} holds ready ONNX exports, which cannot be trained"),
        (len(given) != len(pictures), f"{len(pictures)} pictures but {len(given)} targets: expected one per picture"),
        (len(class_texts) < 2, f"{len(class_texts)} classes: expected at least two"),
        (not whole, f"targets are {given.dtype} {list(given.shape)}, expected whole numbers [n]"),
        (
            whole and len(given) > 0 and (given.min() < 0 or given.max() >= len(class_texts)),
            f"targets must be 0 to {len(class_texts) - 1}, the places of the classes",
        ),
        (any(isinstance(texts, str) or not len(texts) for texts in class_texts), "each class needs a list of texts"),
    ]
    if problems := [text for broken, text in rules if broken]:
        raise TuneError("the towers cannot be tuned: " + "; ".join(problems))
    return given.astype(np.int64)


@contextmanager
def _own_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """The caller's random numbers go on afterwards as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _peak_memory(device: torch.device) -> float | None:
    """MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(
        (int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM")), None
    )
