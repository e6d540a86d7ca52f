"""What the service counts, for Prometheus and for its own status page."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from anmok.serve.problems import CODES
from anmok.serve.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Metrics", "Recent"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
RECENT_S = 60.0  # of which `per_second` is the mean


class Metrics:
    """Counters of one service, and its traces."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self.tracing = tracing or Tracing()
        self.registry = CollectorRegistry()
        kept = self.registry
        self.requests = Counter("anmok_requests", "Requests answered.", ["route", "method", "status"], registry=kept)
        self.request_s = Histogram(
            "anmok_request_seconds", "From the first byte of a request to the last of its answer.", ["route"],
            buckets=SECONDS, registry=kept,
        )  # fmt: skip
        self.stage_s = Histogram(
            "anmok_stage_seconds", "Of a request: fetch, decode, encode (with waiting), search.", ["stage"],
            buckets=SECONDS, registry=kept,
        )  # fmt: skip
        self.run_items = Histogram(
            "anmok_run_items", "Items in a run of a model.", ["model", "tower"], buckets=ITEMS, registry=kept
        )
        self.run_s = Histogram(
            "anmok_run_seconds", "Of a run of a model.", ["model", "tower"], buckets=SECONDS, registry=kept
        )
        self.waiting = Gauge("anmok_waiting_items", "Items that wait for a model.", ["model", "tower"], registry=kept)
        self.errors = Counter("anmok_errors", "Errors, of requests and of single items.", ["code"], registry=kept)
        for code in CODES.values():
            self.errors.labels(code)  # a first error is an increase only where there was a 0 before
        self.models = Gauge("anmok_model_loaded", "1 for each loaded model.", ["model", "image", "text"], registry=kept)
        self.settled = Gauge(
            "anmok_tower_settled", "1 where a tower stays as it runs; 0 while it has yet to be measured.",
            ["model", "tower"], registry=kept,
        )  # fmt: skip
        self.fidelity = Gauge(
            "anmok_tower_fidelity", "Mean cosine of a tower's embeddings with those in float32.",
            ["model", "tower", "precision"], registry=kept,
        )  # fmt: skip
        self.decoders_lost = Gauge(
            "anmok_decoders_lost", "Decoders that died or were stopped at a picture.", registry=kept
        )
        self._recent = {"image": Recent(), "text": Recent()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage of a request (the block), and trace it."""
        with self.stage_s.labels(name).time(), self.tracing.stage(name):
            yield

    def ran(self, model: str, tower: str, items: int, seconds: float) -> None:
        """A run of a model is done."""
        self.run_items.labels(model, tower).observe(items)
        self.run_s.labels(model, tower).observe(seconds)
        self._recent[tower].add(items)

    def per_second(self, tower: str) -> float:
        """Items a second over the last minute."""
        return self._recent[tower].count() / RECENT_S

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)


class Recent:
    """How many there were in the last minute, to the second; no more than a minute is kept, whoever asks or not."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()  # (second, how many), ascending

    def add(self, items: int) -> None:
        """So many now."""
        self._forget()
        now = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == now:
            items += self._seconds.pop()[1]
        self._seconds.append((now, items))

    def count(self) -> int:
        """Of the last minute."""
        self._forget()
        return sum(items for _, items in self._seconds)

    def _forget(self) -> None:
        since = time.monotonic() - RECENT_S
        while self._seconds and self._seconds[0][0] < since:
            self._seconds.popleft()
