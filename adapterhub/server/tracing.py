"""Traces by OpenTelemetry: a span for each request, and in it where its time went. No text is ever an attribute.

The SDK reads its own environment (OTEL_EXPORTER_OTLP_..., OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME); nothing global is
set.
"""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapterhub.errors import InvalidConfig

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from opentelemetry.trace import Tracer as SpanMaker

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_EXPORT_S = 5.0
"""A collector that is away holds up the end of the server at most about so long."""
_FAULT = 500
Attributes = Mapping[str, str | int | float | bool]


class RequestTrace:
    """One request's span and those below it. `note` may be called in any thread."""

    def __init__(self, maker: "SpanMaker", parent: "Context", started_at: float) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        self._maker = maker
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._span: Span = maker.start_span("request", context=parent, kind=SpanKind.SERVER,
                                            start_time=self._ns(started_at))
        self._below = set_span_in_context(self._span, parent)

    def note(self, what: str, started_at: float, ended_at: float, attributes: Attributes | None = None) -> None:
        """Record something that took its time, on the monotonic clock."""
        span = self._maker.start_span(what, context=self._below, start_time=self._ns(started_at),
                                      attributes=attributes)
        span.end(self._ns(ended_at))

    def end(self, method: str, route: str, status: int, facts: Mapping[str, object]) -> None:
        """End the request's span, named by its route's pattern, with the facts that its line in the log has."""
        from opentelemetry.trace import Status, StatusCode

        self._span.update_name(f"{method} {route}")
        self._span.set_attributes({"http.request.method": method, "http.route": route,
                                   "http.response.status_code": status})
        self._span.set_attributes({f"adapterhub.{name}": value for name, value in facts.items()
                                   if isinstance(value, str | int | float)})
        if status >= _FAULT:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def _ns(self, monotonic_s: float) -> int:
        return int(monotonic_s * 1e9) + self._offset_ns


class Tracer:
    """Makes traces of requests. Thread-safe."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider, self._maker = provider, provider.get_tracer("adapterhub.server")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, headers: Mapping[bytes, bytes], started_at: float) -> RequestTrace:
        """Begin a request's trace, or go on with its caller's (`traceparent`, by W3C's Trace Context)."""
        carrier = {name: headers[name.encode()].decode("latin-1") for name in ("traceparent", "tracestate")
                   if name.encode() in headers}
        return RequestTrace(self._maker, self._propagator.extract(carrier), started_at)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def wants_traces(environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether the environment names a collector."""
    return any(environment.get(name) for name in ENDPOINTS)


def open_tracer(endpoint: str | None, environment: Mapping[str, str] = os.environ) -> Tracer:
    """Return what sends traces to a collector: to an OTLP address over HTTP, or where the environment says.

    Raises InvalidConfig for an address that is none, and for another protocol.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    protocol = next((found for name in _PROTOCOLS if (found := environment.get(name))), _SPOKEN)
    if protocol != _SPOKEN:
        raise InvalidConfig(f"Traces are sent as {_SPOKEN}, the environment asks for {protocol}.",
                            hint=f"Set {_PROTOCOLS[1]}={_SPOKEN}, and the collector's port for it (4318 is usual).")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise InvalidConfig(f"{endpoint!r} is no address of a collector.", hint="Write http://127.0.0.1:4318.")
    address = None if endpoint is None else f"{endpoint.rstrip('/')}/v1/traces"
    name = {} if environment.get("OTEL_SERVICE_NAME") else {"service.name": "adapterhub"}
    provider = TracerProvider(resource=Resource.create(name))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address, timeout=_EXPORT_S)))
    return Tracer(provider)
