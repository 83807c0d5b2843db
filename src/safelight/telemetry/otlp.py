"""Send spans with OpenTelemetry's SDK: to a receiver by OTLP, or through a service's own provider.

This module imports OpenTelemetry, so it is imported only when there are spans to send.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from safelight.telemetry.spans import Place, Span, Value
from safelight.telemetry.trace_context import TraceContext

_SCOPE = "safelight"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_TIMEOUT_SECONDS = 5.0
_MAX_COMPLAINTS, _MAX_COMPLAINT = 3, 300  # messages, and characters of all


class Receiver:
    """An OTLP receiver of spans. For a process of its own: it takes what all libraries log."""

    def __init__(self, endpoint: str, protocol: str, resource: Mapping[str, str]) -> None:
        self._complaints = _Complaints()
        logging.getLogger().addHandler(self._complaints)
        self._exporter = _exporter(endpoint, protocol)
        self._resource = _Resource.of(resource)
        self._scope = InstrumentationScope(_SCOPE, version("safelight"))

    def send(self, requests: Sequence[tuple[Sequence[Span], str]]) -> str:
        """Send the spans of requests, each with its `tracestate`.

        Return why the receiver did not take them; empty if it did.
        """
        spans = []
        for own, state in requests:
            states = TraceState.from_header([state]) if state else None
            spans += [self._readable(span, states) for span in own]
        self._complaints.last.clear()
        if self._exporter.export(spans) is SpanExportResult.SUCCESS:
            return ""
        said = " ".join(self._complaints.last) or "the exporter gave no reason"
        return said if len(said) <= _MAX_COMPLAINT else f"{said[:100]} … {said[-200:]}"

    def close(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def _readable(self, span: Span, state: TraceState | None) -> ReadableSpan:
        """Return a span as the exporter reads it: a tracer would take several times as long."""
        parent = None if span.parent is None else _context(span.parent, is_remote=span.is_server)
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
    state = TraceState.from_header([outer.state]) if outer.state else None
    around = _context(Place(int(outer.trace_id, 16), int(outer.span_id, 16)), state)
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


def resource_of(own: Mapping[str, str]) -> Resource:
    """Return the resource of a service by its attributes. The user's OTEL_* variables win.

    Not with `Resource.create`, which begins threads: at the end of a process there can be none.
    """
    library = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version("opentelemetry-sdk"),
    }
    return Resource({**library, **own, **OTELResourceDetector().detect().attributes})


class _Resource(Resource):
    """A resource whose hash is known: the exporter asks for it once per span."""

    _known: int = 0

    @classmethod
    def of(cls, own: Mapping[str, str]) -> "_Resource":
        """Return the resource of a service."""
        found = resource_of(own)
        resource = cls(found.attributes, found.schema_url)
        resource._known = Resource.__hash__(resource)
        return resource

    def __hash__(self) -> int:
        return self._known

    def __eq__(self, other: object) -> bool:
        return self is other


def _exporter(endpoint: str, protocol: str) -> SpanExporter:
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc_exporter

        return grpc_exporter.OTLPSpanExporter(endpoint, timeout=_TIMEOUT_SECONDS)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter

    url = f"{endpoint.rstrip('/')}/v1/traces"
    return trace_exporter.OTLPSpanExporter(url, timeout=_TIMEOUT_SECONDS)


def _context(
    place: Place, state: TraceState | None = None, *, is_remote: bool = False
) -> SpanContext:
    return SpanContext(place.trace_id, place.span_id, is_remote, _SAMPLED, state)


def _kind(span: Span) -> SpanKind:
    return SpanKind.SERVER if span.is_server else SpanKind.INTERNAL


def _attributes(span: Span) -> dict[str, Value]:
    return {**span.attributes, "error.type": span.error} if span.error else span.attributes


def _status(span: Span) -> Status:
    return Status(StatusCode.ERROR) if span.is_failure else Status(StatusCode.UNSET)


class _Complaints(logging.Handler):
    """Keeps what libraries log: on standard error it would be no line of the service's log.

    A caller's `tracestate` is one of the things that they log.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last: deque[str] = deque(maxlen=_MAX_COMPLAINTS)

    def emit(self, record: logging.LogRecord) -> None:
        self.last.append(record.getMessage())
