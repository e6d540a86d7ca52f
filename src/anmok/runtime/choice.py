"""Which engine and precision run a tower on this machine: found by a short measurement, judged, and kept.

The candidates are timed against ONNX Runtime in float32, alone and in a batch. The fastest that stays near enough to
float32 (see `fidelity`) is taken; where it does not, the next, and why is kept too. Float32 in ONNX Runtime needs no
judgement. Where ONNX Runtime is missing OpenVINO takes its place, without int8, which is calibrated with the former.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from anmok import progress
from anmok.everyday import KINDS
from anmok.models.graphs import Graph, image_graph, text_graph
from anmok.runtime import cache, onnxruntime, openvino, pytorch
from anmok.runtime.beginnings import shares_beginnings
from anmok.runtime.fidelity import Certificate, compare, unit
from anmok.runtime.onnxruntime import open_session
from anmok.runtime.openvino import OpenVinoSession
from anmok.runtime.pytorch import TorchSession
from anmok.runtime.quantize import Calibrated, calibrate, quantize
from anmok.runtime.trial import Trial, embed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from anmok.checkpoints import Checkpoint
    from anmok.runtime.trial import Feed, Session, Tower

__all__ = ["EXACT", "Choice", "Way", "choose", "known_choice", "open_tower", "ways"]

GAIN = 1.1  # times as fast as float32 that another way must be
ROUNDS = 3
PAUSE = 0.05  # seconds before each run: the threads of ONNX Runtime spin for a while after one, in the way of others
BATCH = 16
SHRUNK = 0.999  # what the cosine must be for JPEGs to be shrunk while decoding
KEPT = (0.0, 0.25, 1.0)  # shares of products that are spared the coarsest rounding, tried in turn


@dataclass(frozen=True)
class Way:
    """How a tower is run. `kept`: with int8, the share of its products, those that lose most, rounded with care."""

    engine: str
    precision: str
    kept: float = 0.0

    def __str__(self) -> str:
        sparing = f", {self.kept:.0%} of its products with care" if self.kept else ""
        return f"{self.engine} {self.precision}{sparing}"

    @property
    def name(self) -> str:
        """Of its converted graph."""
        return f"{self.engine} {self.precision} {self.kept:g}"


EXACT = Way("onnxruntime" if onnxruntime.installed() else "openvino", "fp32")


@dataclass(frozen=True)
class Choice:
    """What was chosen for a tower.

    `certificate`: none for float32 in ONNX Runtime; `speeds`: times as fast as that, by way, the geometric mean of one
    and BATCH at a time; `refused`: way → why it was not taken; `shrunk`: the smallest cosine between large JPEGs that
    were decoded no larger than needed and whole ones, in float32.
    """

    way: Way = EXACT
    certificate: Certificate | None = None
    speeds: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    shrunk: float | None = None

    @property
    def shrinks(self) -> bool:
        """Whether large JPEGs may be decoded no larger than needed."""
        return self.shrunk is not None and self.shrunk >= SHRUNK


def ways(checkpoint: Checkpoint, *, engine: str = "auto", precision: str = "auto") -> list[Way]:
    """The candidates for a checkpoint here, of one engine or precision where that is asked for."""
    found = [EXACT]
    if checkpoint.exports is None:
        rounds = EXACT.engine == "onnxruntime"
        found += [Way("onnxruntime", "int8", kept) for kept in KEPT if rounds]
        named = engine == "openvino"
        if named or (engine == "auto" and openvino.installed()):
            asks = named or precision in ("auto", "bf16")  # only then is it loaded, which takes half a second
            floats = ("fp32", "bf16") if asks and openvino.has_bf16() else ("fp32",)
            found += [way for name in floats if (way := Way("openvino", name)) != EXACT]
            found += [Way("openvino", "int8", kept) for kept in KEPT[:-1] if rounds]
        found += _torch_ways(checkpoint, engine, precision)
    return [way for way in found if engine in ("auto", way.engine) and precision in ("auto", way.precision)]


def _torch_ways(checkpoint: Checkpoint, engine: str, precision: str) -> list[Way]:
    """PyTorch, where it has a GPU or was named. It is loaded only where its answer matters."""
    if engine not in ("auto", "torch") or precision not in ("auto", "bf16") or not pytorch.installed():
        return []
    if checkpoint.transform.resize == "naflex" or (engine == "auto" and pytorch.gpu() is None):
        return []
    return [Way("torch", "fp32"), Way("torch", "bf16")]


def known_choice(
    checkpoint: Checkpoint, tower: Tower, threads: int, *, engine: str = "auto", precision: str = "auto"
) -> Choice | None:
    """What was chosen here before, or None."""
    folder = cache.folder_of(cache.made_with(checkpoint.fingerprint, threads))
    record = cache.read_record(folder / _record_name(tower, engine, precision))
    try:
        return None if record is None else _choice(record)
    except (KeyError, TypeError):
        return None


def choose(
    checkpoint: Checkpoint, tower: Tower, threads: int, *, engine: str = "auto", precision: str = "auto"
) -> Choice:
    """Measure and judge the candidates; what is chosen is kept for the next time.

    Args:
        checkpoint: whose weights, tokenizer and transform.
        tower: "image" or "text".
        threads: processor threads; 0 for all.
        engine: "auto", or the only one to try.
        precision: "auto", or the only one to try; float32 remains the way out.
    """
    candidates = [way for way in ways(checkpoint, engine=engine, precision=precision) if way != EXACT]
    if not candidates:
        return Choice()
    workshop = _Workshop(checkpoint, tower, threads)
    speeds, broken = workshop.timed(candidates)
    wanted = sorted(speeds, key=lambda way: -speeds[way])
    chosen = workshop.first_fit([way for way in wanted if speeds[way] >= GAIN or precision != "auto"])
    result = replace(
        chosen,
        speeds={str(way): speed for way, speed in speeds.items()},
        refused={**broken, **chosen.refused},
        shrunk=workshop.shrunk() if tower == "image" else None,
    )
    workshop.keep(result.way)
    cache.write_record(workshop.folder / _record_name(tower, engine, precision), asdict(result))
    return result


def open_tower(checkpoint: Checkpoint, tower: Tower, way: Way, *, threads: int) -> Session:
    """A tower as it was chosen to run; the converted graph comes from the cache where it is there."""
    return _Workshop(checkpoint, tower, threads).open(way)


class _Workshop:
    """Graphs and sessions of one tower, made when they are needed."""

    def __init__(self, checkpoint: Checkpoint, tower: Tower, threads: int) -> None:
        self._checkpoint, self._tower, self._threads = checkpoint, tower, threads

    @cached_property
    def _made_with(self) -> dict[str, str]:
        return cache.made_with(self._checkpoint.fingerprint, self._threads)

    @cached_property
    def folder(self) -> Path:
        return cache.folder_of(self._made_with)

    @cached_property
    def _trial(self) -> Trial:
        return Trial(self._checkpoint, self._tower)

    @cached_property
    def _graph(self) -> Graph:
        return tower_graph(self._checkpoint, self._tower)

    @cached_property
    def _exact(self) -> Session:
        return self.open(EXACT)

    @cached_property
    def _calibrated(self) -> Calibrated:
        with progress.task(f"calibrating the {self._tower} tower") as advance:
            return calibrate(self._graph, self._values(advance))

    def open(self, way: Way) -> Session:
        if way.engine == "torch":
            return TorchSession(self._checkpoint, self._tower, bf16=way.precision == "bf16", threads=self._threads)
        source = self._graph if way.precision != "int8" else self._rounded(way)
        if way.engine == "openvino":
            bf16 = way.precision != "fp32" and openvino.has_bf16()
            return OpenVinoSession(source, threads=self._threads, bf16=bf16)
        session: Session = open_session(source, threads=self._threads)
        return session

    def _rounded(self, way: Way) -> Graph | Path:
        name = f"{self._tower} {way.name}"
        if (kept := cache.converted(self.folder, name)) is not None:
            return kept
        return quantize(self._calibrated, kept=way.kept, kept_in_blocks=way.engine == "onnxruntime")

    def keep(self, way: Way) -> None:
        """Keep the converted graph, so that the next start need not make it."""
        if way.precision == "int8" and isinstance(graph := self._rounded(way), Graph):
            cache.keep_graph(self.folder, f"{self._tower} {way.name}", graph)

    def _values(self, advance: Callable[[int], None]) -> Callable[[Graph, list[str]], Iterator[list[NDArray[Any]]]]:
        def run(graph: Graph, names: list[str]) -> Iterator[list[NDArray[Any]]]:
            session = open_session(graph, threads=self._threads)
            for feed in self._trial.calibration():
                yield session.run(names, feed)
                advance(1)

        return run

    def timed(self, candidates: list[Way]) -> tuple[dict[Way, float], dict[str, str]]:
        """Times as fast as float32 in ONNX Runtime, in turns with it, the geometric mean of one and BATCH at a time.

        What an engine cannot run comes back apart, with what it said.
        """
        speeds: dict[Way, float] = {}
        broken: dict[str, str] = {}
        feeds = [self._trial.batch(size) for size in (1, BATCH)]
        with progress.task(f"measuring the {self._tower} tower", len(candidates)) as advance:
            for way in candidates:
                try:
                    session = self.open(way)
                    speeds[way] = statistics.geometric_mean([_ratio(self._exact, session, feed) for feed in feeds])
                except Exception as error:  # each engine has its own kinds
                    broken[str(way)] = f"it cannot be run: {' '.join(str(error).split())[:200]}"
                advance(1)
        return speeds, broken

    def first_fit(self, candidates: list[Way]) -> Choice:
        """The first that stays near enough to float32, else float32."""
        refused: dict[str, str] = {}
        if not candidates:
            return Choice()
        expected = embed(self._exact, self._trial.judged(), f"{self._tower} tower in float32")
        others = self._others()
        for way in candidates:
            found = embed(self.open(way), self._trial.judged(), f"{self._tower} tower, {way}")
            made = {**self._made_with, "tower": self._tower, "way": str(way)}
            agreement = self._kinds(expected, others), self._kinds(found, others)
            certificate = compare(expected, found, agreement, made_with=made)
            if not certificate.refusal:
                return Choice(way, certificate, refused=refused)
            refused[str(way)] = certificate.refusal
        return Choice(refused=refused)

    def shrunk(self) -> float:
        """The smallest cosine between large JPEGs decoded no larger than needed and whole."""
        rows = unit(embed(self._exact, self._trial.photographs(), "large JPEGs"))
        return float((rows[::2] * rows[1::2]).sum(axis=1).min())

    def _kinds(self, mine: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
        """How much each picture looks like each kind of thing, [m, k]."""
        pictures, texts = (mine, others) if self._tower == "image" else (others, mine)
        scores: NDArray[Any] = unit(pictures) @ unit(texts[-len(KINDS) :]).T
        return scores

    def _others(self) -> NDArray[Any]:
        """What the other tower gives in float32."""
        other: Tower = "text" if self._tower == "image" else "image"
        session = _Workshop(self._checkpoint, other, self._threads).open(EXACT)
        return embed(session, Trial(self._checkpoint, other).judged(), f"{other} tower in float32")


def tower_graph(checkpoint: Checkpoint, tower: Tower) -> Graph:
    """The float32 graph of a tower; texts that begin alike can share their beginning where the tower allows it."""
    if tower == "text":
        return text_graph(checkpoint.spec, checkpoint.weights, shares_beginnings=shares_beginnings(checkpoint))
    transform = checkpoint.transform
    return image_graph(checkpoint.spec, checkpoint.weights, mean=transform.mean, std=transform.std)


def _ratio(exact: Session, other: Session, feed: Feed) -> float:
    """Median time of one over the other's, in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(ROUNDS + 1):
        for session, times in zip((exact, other), seconds, strict=True):
            time.sleep(PAUSE)
            start = time.perf_counter()
            session.run(["embedding"], feed)
            if turn:  # the first of each warms it up
                times.append(time.perf_counter() - start)
    return statistics.median(seconds[0]) / statistics.median(seconds[1])


def _record_name(tower: Tower, engine: str, precision: str) -> str:
    return f"{tower}.json" if (engine, precision) == ("auto", "auto") else f"{tower} {engine} {precision}.json"


def _choice(record: dict[str, Any]) -> Choice:
    certificate = record["certificate"]
    return Choice(**record | {"way": Way(**record["way"]), "certificate": certificate and Certificate(**certificate)})
