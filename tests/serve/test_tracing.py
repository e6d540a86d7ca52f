"""Traces: what a request's spans say and whose children they are, and that without the variables there are none."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import httpx2 as httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from anmok.serve import service, tracing_spans
from anmok.serve.tracing import Tracing, tracing_of_environment
from anmok.serve.tracing_spans import Spans

from .serving import picture, pictures, process, until

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLER = {"traceparent": f"00-{TRACE}-{SPAN}-01", "X-Request-ID": "mine-1"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def kept():
    """Spans that have ended."""
    return InMemorySpanExporter()


@pytest.fixture(scope="module")
def traced(kept):
    """Tracing whose spans are kept here."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Spans(provider)


@pytest.fixture(scope="module")
def api(serve, traced):
    """A client of a service that traces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "tracing_of_environment", lambda: traced)
        served = serve()
    with httpx.Client(base_url=served.address, timeout=30) as client:
        client.service = served.service
        yield client


@pytest.fixture
def spans(api, kept):
    """`spans(n)` → those of the requests of a test by name, once there are n."""
    kept.clear()

    def ended(count):
        until(lambda: len(kept.get_finished_spans()) >= count)  # the answer is there a moment before
        found = kept.get_finished_spans()
        assert len(found) == count, [span.name for span in found]
        return {span.name: span for span in found}

    return ended


def test_a_request_is_a_span_of_its_callers_trace_and_its_stages_are_in_it(api, spans, caplog):
    caplog.set_level(logging.INFO, "anmok.serve.requests")
    answer = api.post("/v1/embed", json={"pictures": pictures(1, 2)}, headers=CALLER)
    assert answer.status_code == 200 and answer.headers["x-request-id"] == "mine-1"
    found = spans(4)
    request, decode, encode, run = (found[name] for name in ("POST /v1/embed", "decode", "encode", "run"))
    assert (request.kind, request.parent.span_id, request.parent.is_remote) == (SpanKind.SERVER, int(SPAN, 16), True)
    assert {span.context.trace_id for span in found.values()} == {int(TRACE, 16)}
    assert request.attributes == {
        "anmok.request_id": "mine-1",
        "http.request.method": "POST",
        "http.route": "/v1/embed",
        "http.response.status_code": 200,
    }
    assert decode.parent.span_id == encode.parent.span_id == request.context.span_id
    assert run.parent.span_id == encode.context.span_id
    assert run.attributes == {"anmok.model": "tiny", "anmok.tower": "image", "anmok.items": 2}
    assert request.start_time <= decode.start_time <= decode.end_time <= encode.start_time <= run.start_time
    assert run.end_time <= encode.end_time <= request.end_time
    assert json.loads(caplog.messages[-1])["trace_id"] == TRACE


def test_a_search_is_a_stage_and_a_trace_begins_here_where_the_caller_has_none(api, spans, kept):
    assert api.post("/v1/collections", json={"name": "c"}).status_code == 201
    assert api.post("/v1/collections/c/pictures", files={"pictures": picture(1)}).status_code == 200
    until(lambda: len(kept.get_finished_spans()) == 5)
    kept.clear()
    assert api.post("/v1/search", json={"collection": "c", "query": "red"}).status_code == 200
    found = spans(4)
    request, search = found["POST /v1/search"], found["search"]
    assert request.parent is None and search.parent.span_id == request.context.span_id
    assert found["run"].attributes["anmok.tower"] == "text"
    assert "red" not in str([(span.name, span.attributes) for span in found.values()])


def test_only_errors_of_the_service_are_errors_of_its_spans(api, spans, kept, monkeypatch):
    assert api.get("/nowhere").status_code == 404
    assert spans(1)["GET none"].status.status_code is StatusCode.UNSET
    kept.clear()
    monkeypatch.setattr(api.service, "ready", False)
    assert api.get("/readyz").status_code == 503
    assert spans(1)["GET /readyz"].status.status_code is StatusCode.ERROR


def test_what_the_caller_does_not_sample_is_not_kept(api, spans, kept, caplog):
    caplog.set_level(logging.INFO, "anmok.serve.requests")
    headers = {"traceparent": CALLER["traceparent"][:-2] + "00"}
    assert api.post("/v1/embed", json={"texts": ["red"]}, headers=headers).status_code == 200
    assert api.get("/healthz", headers={"traceparent": "nonsense"}).status_code == 200
    assert list(spans(1)) == ["GET /healthz"]
    assert ["trace_id" in json.loads(line) for line in caplog.messages] == [False, True]


def test_a_run_is_linked_with_all_that_wait_for_it(traced, kept):
    kept.clear()
    run = traced.runs("tiny", "text", lambda items: [len(item) for item in items])
    asked, begun = [], []
    for number, items in enumerate([["a", "bb"], ["ccc"], ["dddd"]]):
        begun.append(traced.request([], str(number)))
        with traced.stage("encode"):
            asked += traced.asked(items)
            if number == 2:
                assert run([*asked, ("unsampled", None)]) == [1, 2, 3, 4, 9]
    for request in reversed(begun):
        request.end("POST", "/v1/embed", 200)
    spans = kept.get_finished_spans()
    runs, waiting = [[span for span in spans if span.name == name] for name in ("run", "encode")]
    assert len(runs) == 1 and runs[0].attributes["anmok.items"] == 5
    assert runs[0].parent.span_id == waiting[0].context.span_id
    assert [link.context.span_id for link in runs[0].links] == [span.context.span_id for span in waiting[1:]]
    assert [len(span.links) for span in waiting] == [0, 0, 1]  # the second had left before
    assert waiting[2].links[0].context.span_id == runs[0].context.span_id


def test_a_run_for_which_nobody_traced_waits_is_no_span(traced, kept):
    kept.clear()
    assert traced.runs("tiny", "text", list)([("a", None)]) == ["a"]
    assert not kept.get_finished_spans()


def test_without_the_variables_nothing_is_traced_or_imported(tmp_path):
    """Whatever else is installed: a whole service is made in a fresh process."""
    code = (
        "import sys; from pathlib import Path; from anmok.serve.app import create_app;"
        "from anmok.serve.settings import ServiceSettings;"
        "tracing = create_app(ServiceSettings(home=Path(sys.argv[1]))).state.service.metrics.tracing;"
        "heavy = ('opentelemetry.sdk', 'opentelemetry.exporter');"  # FastAPI imports the API by itself
        "print(type(tracing).__name__, [name for name in sys.modules if name.startswith(heavy)])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["Tracing", "[]"]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, ""),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, ""),
        ({"OTEL_TRACES_EXPORTER": "", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ""),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin', expected otlp or none"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "is 'grpc', expected http/protobuf"),
    ],
)
def test_what_cannot_be_followed_is_told_and_the_service_goes_on(variables, told, monkeypatch, caplog):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert type(tracing_of_environment()) is Tracing
    assert told in caplog.text and bool(told) == bool(caplog.text)


def test_the_missing_extra_is_named(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delitem(sys.modules, "anmok.serve.tracing_spans")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert type(tracing_of_environment()) is Tracing
    assert "pip install 'anmok[telemetry]'" in caplog.text


def test_a_collector_that_does_not_answer_does_not_hold_up_the_end(monkeypatch):
    class Stuck(SpanExporter):
        released = threading.Event()

        def export(self, spans):
            self.released.wait(30)
            return SpanExportResult.SUCCESS

    monkeypatch.setattr(tracing_spans, "FLUSH_S", 0.2)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Stuck()))
    stuck = Spans(provider)
    stuck.request([], "1").end("GET", "/healthz", 200)
    start = time.monotonic()
    stuck.close()
    assert time.monotonic() - start < 5
    Stuck.released.set()


@pytest.fixture
def collector():
    """What a collector is sent over OTLP/HTTP."""
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_address[1]}", received=received)
        server.shutdown()
        thread.join()


@pytest.mark.skipif(os.name != "posix", reason="SIGTERM is POSIX's")
def test_a_real_service_sends_its_last_spans_before_it_ends(tmp_path, tiny_folder, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=shop")
    with process(tmp_path / "home", tiny_folder) as running:
        assert httpx.post(f"{running.url}/v1/embed", json={"texts": ["red"]}, headers=CALLER).status_code == 200
        running.signal(signal.SIGTERM)
        assert running.wait() == 0, running.log
    path, sent = collector.received[0]
    resource = {one.key: one.value.string_value for one in sent.resource_spans[0].resource.attributes}
    assert path == "/v1/traces"
    assert resource["service.name"] == "anmok" and resource["deployment.environment.name"] == "shop"
    spans = [span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans]
    assert {span.name for span in spans} == {"POST /v1/embed", "encode", "run"}
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert [line for line in running.log if TRACE in line]
