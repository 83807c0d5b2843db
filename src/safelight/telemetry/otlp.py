"""Send spans with OpenTelemetry's SDK: to a receiver by OTLP, or through a service's own provider.

This module imports OpenTelemetry, so it is imported only when there are spans to send.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from safelight.settings import Settings
from safelight.telemetry.spans import Place, Span, Value
from safelight.telemetry.trace_context import TraceContext

_SCOPE = "safelight"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_TIMEOUT_SECONDS = 5.0


class Receiver:
    """An OTLP receiver of spans. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._exporter = _exporter(settings)
        self._resource = resource_of(settings)
        self._scope = InstrumentationScope(_SCOPE, version("safelight"))

    def send(self, requests: Sequence[tuple[Sequence[Span], str]]) -> bool:
        """Send the spans of requests, each with its `tracestate`. Return whether they arrived."""
        spans = [self._readable(span, state) for own, state in requests for span in own]
        with _uninstrumented():
            return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent, and close the connection. Any thread may call this."""
        self._exporter.shutdown()

    def _readable(self, span: Span, state: str) -> ReadableSpan:
        """Return a span as the exporter reads it: a tracer would take several times as long."""
        parent = None if span.parent is None else _context(span.parent)
        return ReadableSpan(
            span.name,
            _context(span.place, state),
            parent,
            self._resource,
            _attributes(span),
            [Event(name, attributes, at) for name, at, attributes in span.events],
            [Link(_context(place)) for place in span.links],
            _kind(span),
            status=_status(span),
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=self._scope,
        )


def send_through_provider(spans: Sequence[Span], outer: TraceContext) -> None:
    """Make spans with the application's own provider, inside one of its own spans."""
    tracer = trace.get_tracer(_SCOPE, version("safelight"))
    around = _context(Place(int(outer.trace_id, 16), int(outer.span_id, 16)), outer.state)
    contexts: dict[Place, SpanContext] = {}
    for span in spans:
        inside = contexts.get(span.parent, around) if span.parent is not None else around
        made = tracer.start_span(
            span.name,
            trace.set_span_in_context(trace.NonRecordingSpan(inside)),
            _kind(span),
            _attributes(span),
            start_time=span.start,
        )
        contexts[span.place] = made.get_span_context()
        for name, at, attributes in span.events:
            made.add_event(name, attributes, at)
        made.set_status(_status(span))
        made.end(span.end)


def resource_of(settings: Settings) -> Resource:
    """Return what OTLP receivers know of this service. The user's OTEL_* variables win."""
    own = {
        "service.name": settings.namespace,
        "service.version": version("safelight"),
        "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
    }
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})


def _exporter(settings: Settings) -> SpanExporter:
    if settings.otlp_protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_exporter

        return grpc_exporter.OTLPSpanExporter(settings.otlp_endpoint, timeout=_TIMEOUT_SECONDS)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    url = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    return trace_exporter.OTLPSpanExporter(url, timeout=_TIMEOUT_SECONDS)


def _context(place: Place, state: str = "") -> SpanContext:
    states = TraceState.from_header([state]) if state else None
    return SpanContext(place.trace_id, place.span_id, False, _SAMPLED, states)  # noqa: FBT003


def _kind(span: Span) -> SpanKind:
    return SpanKind.SERVER if span.is_server else SpanKind.INTERNAL


def _attributes(span: Span) -> dict[str, Value]:
    return {**span.attributes, "error.type": span.error} if span.error else span.attributes


def _status(span: Span) -> Status:
    return Status(StatusCode.ERROR) if span.is_failure else Status(StatusCode.UNSET)


@contextmanager
def _uninstrumented() -> Iterator[None]:
    """Keep an instrumented HTTP client from making spans of the spans that it sends."""
    token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, value=True))
    try:
        yield
    finally:
        detach(token)
