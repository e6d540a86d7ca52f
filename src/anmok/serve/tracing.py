"""Traces for OpenTelemetry, where its own variables ask for them: requests, their stages, and runs of the models.

Otherwise its SDK is not imported, and what is here does nothing.
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span

__all__ = ["Asked", "Traced", "Tracing", "tracing_of_environment"]

Item = TypeVar("Item")
Answers = TypeVar("Answers")
Asked = tuple[Item, "Span | None"]
"""What a model is to answer, and the span that waits for it."""

log = logging.getLogger("anmok.serve")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"


class Traced:
    """A request that is under way; not traced."""

    def end(self, method: str, route: str, status: int) -> dict[str, str]:
        """It is answered. Returns what the log adds to tell of it."""
        del method, route, status
        return {}


class Tracing:
    """Traces nothing."""

    def request(self, headers: Iterable[tuple[bytes, bytes]], request_id: str) -> Traced:
        """A request begins; what happens in the same task, and in tasks that it begins, belongs to it until its end."""
        del headers, request_id
        return Traced()

    def stage(self, name: str) -> AbstractContextManager[object]:
        """A part of a request: the block."""
        del name
        return nullcontext()

    def asked(self, items: Sequence[Item]) -> list[Asked[Item]]:
        """Items for a model, with the stage that waits for them."""
        return [(item, None) for item in items]

    def runs(
        self, model: str, tower: str, run: Callable[[list[Item]], Answers]
    ) -> Callable[[list[Asked[Item]]], Answers]:
        """A model's function, for items with who waits for them."""
        del model, tower
        return lambda asked: run([item for item, _ in asked])

    def close(self) -> None:
        """Send what is left."""


def tracing_of_environment() -> Tracing:
    """As OpenTelemetry's variables say; without any, nothing is traced.

    Where they cannot be followed, that is logged and the service goes on: they are often set for a whole machine, and
    nobody's pictures should wait for somebody's traces.
    """
    environment = os.environ
    exporter = environment.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(environment.get, ENDPOINTS)) else "none")
    if exporter == "none" or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return Tracing()
    protocol = next(filter(None, map(environment.get, PROTOCOLS)), PROTOCOL)
    try:
        from anmok.serve.tracing_spans import Spans, provider_of_environment

        if exporter != "otlp":
            raise ValueError(f"OTEL_TRACES_EXPORTER is {exporter!r}, expected otlp or none")
        if protocol != PROTOCOL:
            raise ValueError(f"the protocol is {protocol!r}, expected {PROTOCOL} (port 4318 of most collectors)")
        return Spans(provider_of_environment())
    except ImportError as error:
        log.warning("no traces are sent, because %s is missing: pip install 'anmok[telemetry]'", error.name)
    except ValueError as error:
        log.warning("no traces are sent: %s", error)
    return Tracing()
