"""Traces as spans of OpenTelemetry. Imported only where they are wanted: the package is an extra."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, StatusCode, format_trace_id, get_current_span, set_span_in_context

from anmok.serve.tracing import Traced, Tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span

    from anmok.serve.tracing import Asked

__all__ = ["Spans", "provider_of_environment"]

Item = TypeVar("Item")
Answers = TypeVar("Answers")
FLUSH_S = 5.0  # for the last spans, when the service stops


def provider_of_environment() -> TracerProvider:
    """Spans → batches → the collector; sampled, named and sent as OpenTelemetry's variables say.

    Raises:
        ValueError: a variable has a value that OpenTelemetry does not take.
    """
    from anmok import __version__

    ours = {"service.name": "anmok", "service.version": __version__}
    resource = Resource.create({**ours, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Spans(Tracing):
    """A span for each request, each of its stages, and each run of a model.

    A run is in the trace of the first request that waits for it; it and the stages of the others are linked both ways.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider, self._tracer = provider, provider.get_tracer("anmok.serve")

    def request(self, headers: Iterable[tuple[bytes, bytes]], request_id: str) -> Traced:
        """As a child of the caller's span, where `traceparent` names one (https://www.w3.org/TR/trace-context/)."""
        above = extract({name.decode("latin-1"): value.decode("latin-1") for name, value in headers})
        about = {"anmok.request_id": request_id}
        return _Request(self._tracer.start_span("request", above, SpanKind.SERVER, about))

    def stage(self, name: str) -> AbstractContextManager[object]:
        """A span inside the current one."""
        return self._tracer.start_as_current_span(name)

    def asked(self, items: Sequence[Item]) -> list[Asked[Item]]:
        """With the current span, where it is sampled."""
        span = get_current_span()
        waits = span if span.is_recording() else None
        return [(item, waits) for item in items]

    def runs(
        self, model: str, tower: str, run: Callable[[list[Item]], Answers]
    ) -> Callable[[list[Asked[Item]]], Answers]:
        """A span around each call for which a span waits."""

        def traced(asked: list[Asked[Item]]) -> Answers:
            waiting = list(dict.fromkeys(span for _, span in asked if span is not None))
            with self._run(waiting, {"anmok.model": model, "anmok.tower": tower, "anmok.items": len(asked)}):
                return run([item for item, _ in asked])

        return traced

    @contextmanager
    def _run(self, waiting: list[Span], about: dict[str, str | int]) -> Iterator[None]:
        if not waiting:
            yield
            return
        first, *others = waiting
        above, links = set_span_in_context(first), [Link(other.get_span_context()) for other in others]
        with self._tracer.start_as_current_span("run", above, attributes=about, links=links) as run:
            for other in others:
                if other.is_recording():  # its client may have left
                    other.add_link(run.get_span_context())
            yield

    def close(self) -> None:
        """Send what is left, but do not wait long for a collector that does not answer."""
        sending = Thread(target=self._provider.shutdown, name="anmok-traces", daemon=True)
        sending.start()
        sending.join(FLUSH_S)


class _Request(Traced):
    """A request and its span, which is the current one until it ends."""

    def __init__(self, span: Span) -> None:
        self._span, self._token = span, context.attach(set_span_in_context(span))

    def end(self, method: str, route: str, status: int) -> dict[str, str]:
        context.detach(self._token)
        span = self._span
        sampled = span.is_recording()
        span.update_name(f"{method} {route}")
        facts: dict[str, str | int] = {"http.request.method": method, "http.route": route}
        facts["http.response.status_code"] = status
        span.set_attributes(facts)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()
        return {"trace_id": format_trace_id(span.get_span_context().trace_id)} if sampled else {}
