"""Traces: a span for each request and in it where its time went, in memory and sent to a collector over HTTP."""

import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from language_models import Recipe, write_language_model, write_lora
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from running_server import Running, running, wait_until

from adapterhub.bases.load import load_base
from adapterhub.errors import InvalidConfig
from adapterhub.registry import Registry
from adapterhub.server.tracing import Tracer, open_tracer, wants_traces
from adapterhub.settings import Settings

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""Source: W3C Trace Context, the example of its section 3.2.2."""


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    yield exporter
    exporter.shutdown()


def tracer_into(spans: InMemorySpanExporter) -> Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracer(provider)


def by_request(spans: InMemorySpanExporter) -> list[tuple[ReadableSpan, list[ReadableSpan]]]:
    """Each request's span with those below it, in the order in which the requests ended."""
    finished = spans.get_finished_spans()
    return [(root, [span for span in finished if span.parent and span.parent.span_id == root.context.span_id])
            for root in finished if root.kind == SpanKind.SERVER]


def names(below: list[ReadableSpan]) -> list[str]:
    return sorted(span.name for span in below)


def ask(server: Running, spans: InMemorySpanExporter, path: str, body: Any,
        **headers: str) -> tuple[ReadableSpan, list[ReadableSpan]]:
    """Post, and return the request's spans once they have ended."""
    n_before = len(by_request(spans))
    server.post(path, body, **headers)
    wait_until(lambda: len(by_request(spans)) > n_before)
    return by_request(spans)[n_before]


def test_request_tells_where_its_time_went(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                           tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, tracer=tracer_into(spans)) as server:
        body = {"rows": [{"adapter": "t/intents3", "text": "my zebra card"}, {"adapter": "t/nowhere", "text": "a"}]}
        cold, below_cold = ask(server, spans, "/v1/predict", body, **{"x-request-id": "one"})
        warm, below_warm = ask(server, spans, "/v1/predict", body)
        server.get("/healthz")
        refused, below_refused = ask(server, spans, "/v1/predict", {"rows": []})
    assert cold.name == "POST /v1/predict"
    assert dict(cold.attributes or {}) | {
        "http.request.method": "POST", "http.route": "/v1/predict", "http.response.status_code": 200,
        "adapterhub.request_id": "one", "adapterhub.n_rows": 2, "adapterhub.n_failed": 1} == cold.attributes
    assert names(below_cold) == ["forward", "load", "lookup", "queue"]
    assert names(below_warm) == ["forward", "lookup", "queue"]
    assert (names(below_refused), (refused.attributes or {})["adapterhub.error"]) == ([], "BadRequest")
    for root, below in ((cold, below_cold), (warm, below_warm)):
        for span in below:
            assert root.start_time is not None
            assert span.start_time is not None
            assert span.end_time is not None
            assert root.start_time <= span.start_time <= span.end_time
    load = next(span for span in below_cold if span.name == "load")
    assert (load.attributes or {})["adapterhub.digest"] == registry.resolve("t/intents3").digest
    assert len(by_request(spans)) == 3  # whether it lives is nobody's trace
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "zebra" not in told


def test_rows_that_share_a_pass_have_it_in_each_trace(registry: Registry, tiny_base_folder: Path,
                                                      tiny_settings: Settings, tmp_path: Path,
                                                      spans: InMemorySpanExporter) -> None:
    from adapterhub.server.config import ServerConfig

    config = ServerConfig(port=0, gather_s=1.0)
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, config=config,
                 tracer=tracer_into(spans)) as server:
        def post(name: str) -> None:
            server.post("/v1/predict", {"rows": [{"adapter": name, "text": "my card"}]})
        threads = [threading.Thread(target=post, args=(name,)) for name in ("t/intents3", "t/intents5")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    both = by_request(spans)
    passes = [span for _, below in both for span in below if span.name == "forward"]
    assert [(span.attributes or {})["adapterhub.rows"] for span in passes] == [2, 2]
    starts = [span.start_time or 0 for span in passes]
    assert abs(starts[0] - starts[1]) < 1e6  # of ns: each trace reads the clocks for itself
    loads = [[(span.attributes or {})["adapterhub.digest"] for span in below if span.name == "load"]
             for _, below in both]
    assert sorted(map(len, loads)) == [1, 1]
    assert loads[0] != loads[1]


def test_trace_goes_on_with_its_callers(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                        tmp_path: Path, spans: InMemorySpanExporter) -> None:
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, tracer=tracer_into(spans)) as server:
        own, _ = ask(server, spans, "/v1/predict", {"rows": [{"text": "a"}]})
        child, below = ask(server, spans, "/v1/predict", {"rows": [{"text": "a"}]}, traceparent=PARENT)
        ask(server, spans, "/v1/predict", {"rows": [{"text": "a"}]}, traceparent="no parent")
    assert own.parent is None
    assert child.parent is not None
    assert (f"{child.context.trace_id:032x}", f"{child.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])
    assert {span.context.trace_id for span in below} == {child.context.trace_id}


def test_writing_is_traced_until_its_first_token_and_to_its_end(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    settings = Settings(registry=str(tmp_path / "registry"), cache=tmp_path / "cache", data=None, shipped_registry=None)
    base = load_base(str(write_language_model(tmp_path / "base", "llama")), cache=settings.cache)
    registry = Registry(tmp_path / "registry")
    registry.publish(write_lora(tmp_path / "two", base, Recipe(rank=2)), "t/two")
    with running(base, registry, tmp_path, settings, tracer=tracer_into(spans)) as server:
        asked = {"model": "t/two", "prompt": "my card", "max_tokens": 3}
        first, below = ask(server, spans, "/v1/completions", asked)
        _, streamed = ask(server, spans, "/v1/completions", asked | {"stream": True})
    assert first.name == "POST /v1/completions"
    assert (names(below), names(streamed)) == (["forward", "load", "queue"], ["forward", "queue"])


def test_fault_of_ours_is_an_error_in_its_trace(registry: Registry, tiny_base_folder: Path, tiny_settings: Settings,
                                                tmp_path: Path, spans: InMemorySpanExporter,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: Any) -> None:
        raise RuntimeError("broken")
    with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, tracer=tracer_into(spans)) as server:
        monkeypatch.setattr(server.house.catalogue, "listings", breaks)
        server.get("/v1/models")
        wait_until(lambda: by_request(spans))
    (root, _), = by_request(spans)
    assert (root.status.status_code, (root.attributes or {})["adapterhub.error"]) == (StatusCode.ERROR, "InternalFault")


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Something that takes OTLP over HTTP, and what it got."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(ExportTraceServiceRequest.FromString(
                gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_collector_gets_what_is_left_when_the_server_ends(registry: Registry, tiny_base_folder: Path,
                                                          tiny_settings: Settings, tmp_path: Path) -> None:
    with collector() as (url, got):
        with running(str(tiny_base_folder), registry, tmp_path, tiny_settings, tracer=open_tracer(url)) as server:
            server.predict({"adapter": "t/intents3", "text": "my card"})
        resource, = [found for request in got for found in request.resource_spans]
        sent = {span.name for scope in resource.scope_spans for span in scope.spans}
    assert sent == {"POST /v1/predict", "lookup", "queue", "load", "forward"}
    assert {item.key: item.value.string_value for item in resource.resource.attributes}["service.name"] == "adapterhub"


def test_what_asks_for_traces_and_what_cannot_be_one() -> None:
    assert not wants_traces({})
    assert wants_traces({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    with pytest.raises(InvalidConfig, match="asks for grpc"):
        open_tracer(None, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    with pytest.raises(InvalidConfig, match="no address"):
        open_tracer("127.0.0.1:4318", {})
