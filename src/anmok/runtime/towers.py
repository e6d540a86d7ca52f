"""The two towers of a checkpoint, ready to run: pixels and token ids in, embeddings out.

Engines:
    onnxruntime   the graphs of `models/graphs` (the default; no torch)
    openvino      the same graphs (extra `openvino`), the faster one on many processors
    torch         the modules of `models/modules` (extra `train`): on a GPU (CUDA, MPS) where there is one; on the
                  processor for comparing and for reading along

A tower is opened when it is first used: a search by text never loads the image tower.
"""

from __future__ import annotations

import warnings
from threading import Lock, RLock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from anmok.errors import SettingsError, did_you_mean
from anmok.runtime.beginnings import no_past, run_texts, shares_beginnings
from anmok.settings import PRECISIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.runtime.choice import Choice
    from anmok.runtime.trial import Feed, Session, Tower

__all__ = ["ENGINES", "PRECISIONS", "PrecisionRefused", "Towers", "open_towers"]

ENGINES = ("onnxruntime", "openvino", "torch")
PATIENCE = 15.0  # seconds of work after which a tower is worth measuring, which takes about as long


class PrecisionRefused(UserWarning):
    """A precision that was asked for is not near enough to float32 for this checkpoint; a safer one is used."""


class Towers(Protocol):
    """What every engine offers. Embeddings are float32 [n, d], not yet of unit length."""

    def choice(self, tower: Tower) -> Choice:
        """How a tower runs here and now, with what was measured."""

    @property
    def shrinks(self) -> bool:
        """Whether large JPEGs may be decoded no larger than needed."""

    def worked(self, tower: Tower, seconds: float) -> None:
        """Tell that a tower and what feeds it have worked so long; after a while it is worth measuring."""

    def due(self, tower: Tower) -> bool:
        """Whether it has worked long enough to be worth measuring, and was not measured yet."""

    def settled(self, tower: Tower) -> bool:
        """Whether it stays as it runs now."""

    def settle(self, tower: Tower, *, measure: bool = True) -> None:
        """Where it is due, go on with what is found best; without `measure`, with what was found before, if it was."""

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures uint8 [n, h, w, 3] as `Transform` yields them."""

    def patches(
        self, patches: NDArray[np.uint8], mask: NDArray[np.bool_], shapes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embed NaFlex pictures: patches uint8 [n, m, p*p*3], mask [n, m], rows and columns [n, 2]."""

    def text(self, ids: NDArray[np.int64], *, most: int = 256) -> NDArray[np.float32]:
        """Embed token ids [n, l], at most so many texts a run."""


def open_towers(checkpoint: Checkpoint, *, engine: str = "auto", precision: str = "auto", threads: int = 0) -> Towers:
    """Open a checkpoint's towers.

    With both "auto", a tower runs as was found best on this machine before; else in float32 in ONNX Runtime, until it
    has worked for PATIENCE seconds: then it is `due`, and `settle` measures the engines and precisions, and goes on
    with the best that stays near enough to float32 (see `choose`).

    Args:
        checkpoint: spec, weights and transform.
        engine: "auto" or one of ENGINES.
        precision: "auto" or one of PRECISIONS. float32 is exact and asks for no measurement.
        threads: processor threads; 0 for as many as the machine has.

    Raises:
        SettingsError: an unknown engine or precision, one that the engine does not have, or ready ONNX exports asked
            to run otherwise than they are.
        MissingExtra: the engine is not installed.
    """
    _check("engine", engine, ENGINES)
    _check("precision", precision, PRECISIONS)
    if engine == "torch" and precision in ("auto", "fp32"):
        from anmok.runtime.pytorch import TorchTowers

        return TorchTowers(checkpoint, threads)
    return _GraphTowers(checkpoint, engine, precision, threads)


def _check(option: str, given: str, known: tuple[str, ...]) -> None:
    if given != "auto" and given not in known:
        raise SettingsError(
            f"{option} {given!r} is unknown; choose from auto, {', '.join(known)}.{did_you_mean(given, known)}"
        )


class _GraphTowers:
    """A checkpoint's graphs, each in the engine and precision that were asked for or found best."""

    def __init__(self, checkpoint: Checkpoint, engine: str, precision: str, threads: int) -> None:
        from anmok.runtime.choice import ways

        self._checkpoint, self._engine, self._precision, self._threads = checkpoint, engine, precision, threads
        self._may_settle = (engine, precision) == ("auto", "auto") and checkpoint.exports is None
        self._choices: dict[Tower, Choice] = {}
        self._sessions: dict[Tower, Session] = {}
        self._spent: dict[Tower, float] = {"image": 0.0, "text": 0.0}  # seconds of work
        self._settled: set[Tower] = set()  # what was measured for these is known
        self._opening, self._settling = RLock(), Lock()
        if (engine, precision) != ("auto", "auto") and not ways(checkpoint, engine=engine, precision=precision):
            why = "its ready ONNX graphs run as they are"
            if checkpoint.exports is None:
                why = (
                    f"{precision} needs a processor that has it and OpenVINO (pip install 'anmok[openvino]'), "
                    "or PyTorch ('anmok[train]')"
                )
            raise SettingsError(
                f"{checkpoint.name} cannot run with engine={engine!r}, precision={precision!r} here: {why}. "
                "Leave precision at auto"
            )

    def image(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures uint8 [n, h, w, 3]; float32 [n, d]."""
        if (exports := self._checkpoint.exports) is not None:
            from anmok.pictures import normalize

            return self._run("image", {exports.image_input: normalize(pixels, self._checkpoint.transform)})[0]
        return self._run("image", {"pixels": pixels})[0]

    def patches(
        self, patches: NDArray[np.uint8], mask: NDArray[np.bool_], shapes: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Embed NaFlex pictures: patches uint8 [n, m, p*p*3], mask [n, m], rows and columns [n, 2]."""
        from anmok.models.graphs import naflex_inputs

        return self._run("image", naflex_inputs(self._checkpoint.spec, patches, mask, shapes))[0]

    def text(self, ids: NDArray[np.int64], *, most: int = 256) -> NDArray[np.float32]:
        """Embed token ids int64 [n, l], at most so many a run; float32 [n, d]."""
        words = self._checkpoint.spec.text
        if shares_beginnings(self._checkpoint) and self.choice("text").way.engine != "torch":
            lengths = (ids == words.eos_token).argmax(axis=1) + 1  # the first end; a text without one ends at once
            return run_texts(ids, lengths, self._run_texts, nothing=no_past(words), most=most)
        exports = self._checkpoint.exports
        name = exports.text_input if exports is not None else "ids"
        parts = (ids[start : start + most] for start in range(0, len(ids), most))
        return np.concatenate([self._run("text", {name: part})[0] for part in parts])

    def _run_texts(
        self, ids: NDArray[np.int64], past: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        embedding, seen = self._run("text", {"ids": ids, "past": past}, ["embedding", "seen"])
        return embedding, seen

    def _run(self, tower: Tower, feed: Feed, outputs: list[str] | None = None) -> list[NDArray[np.float32]]:
        session = self._session(tower)
        exports = self._checkpoint.exports
        names = [exports.output_of(session)] if exports is not None else outputs or ["embedding"]
        return [np.asarray(array, np.float32) for array in session.run(names, feed)]

    # --- which engine and precision

    @property
    def shrinks(self) -> bool:
        """Whether large JPEGs may be decoded no larger than needed: where that was measured to be near enough."""
        return self.choice("image").shrinks

    def worked(self, tower: Tower, seconds: float) -> None:
        """Count the seconds of work."""
        self._spent[tower] += seconds

    def due(self, tower: Tower) -> bool:
        """Whether it has worked for PATIENCE seconds without a choice."""
        return self._may_settle and tower not in self._settled and self._spent[tower] >= PATIENCE

    def settled(self, tower: Tower) -> bool:
        """Whether its choice is made, or was asked for."""
        self.choice(tower)
        return not self._may_settle or tower in self._settled

    def settle(self, tower: Tower, *, measure: bool = True) -> None:
        """Where it is due, choose; other threads go on meanwhile."""
        from anmok.runtime.choice import Choice, choose, known_choice

        if not self.due(tower) or not self._settling.acquire(blocking=False):
            return
        try:
            if self.due(tower):
                found = known_choice(self._checkpoint, tower, self._threads)  # another process may have been quicker
                if found is None:
                    found = choose(self._checkpoint, tower, self._threads) if measure else Choice()
                session = self._opened(tower, found)
                with self._opening:
                    self._choices[tower], self._sessions[tower] = found, session
                self._settled.add(tower)
        finally:
            self._settling.release()

    def _session(self, tower: Tower) -> Session:
        with self._opening:
            if tower not in self._sessions:
                self._sessions[tower] = self._opened(tower, self.choice(tower))
            return self._sessions[tower]

    def _opened(self, tower: Tower, choice: Choice) -> Session:
        from anmok.runtime.choice import open_tower

        exports = self._checkpoint.exports
        if exports is not None:
            from anmok.runtime.onnxruntime import open_session

            session: Session = open_session(getattr(exports, tower), threads=self._threads)
            return session
        return open_tower(self._checkpoint, tower, choice.way, threads=self._threads)

    def choice(self, tower: Tower) -> Choice:
        """How a tower runs; where a precision is asked for that was not judged before, it is now."""
        from anmok.runtime.choice import EXACT, Choice, Way, choose, known_choice

        with self._opening:
            if tower in self._choices:
                return self._choices[tower]
            asked = {"engine": self._engine, "precision": self._precision}
            if self._precision == "fp32" or (self._precision == "auto" and self._engine != "auto"):
                choice = Choice(EXACT if self._engine == "auto" else Way(self._engine, "fp32"))
            else:
                known = (
                    None if self._checkpoint.exports else known_choice(self._checkpoint, tower, self._threads, **asked)
                )
                if known is None and self._precision != "auto":
                    known = choose(self._checkpoint, tower, self._threads, **asked)
                if known is not None:
                    self._settled.add(tower)
                choice = known or Choice()
                if self._precision not in ("auto", choice.way.precision):
                    self._tell_refusal(tower, choice)
            self._choices[tower] = choice
            return choice

    def _tell_refusal(self, tower: Tower, choice: Choice) -> None:
        reasons = "; ".join(f"{way}: {reason}" for way, reason in choice.refused.items())
        text = f"the {tower} tower of {self._checkpoint.name} runs in {choice.way.precision}, not {self._precision}: "
        warnings.warn(text + reasons, PrecisionRefused, stacklevel=2)
