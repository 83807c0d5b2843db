"""The trace in which a request came: from a traceparent header, or OpenTelemetry's current span."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

# W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header: the fields of version
# 00 come first in every later version, and version ff is invalid.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_TRACEPARENT_NAME, _TRACESTATE_NAME = b"traceparent", b"tracestate"
_MAX_STATE = 512  # characters that every party must pass on; a longer list may be dropped
SDK = "opentelemetry.sdk.trace"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace and the span in it that a request belongs to, by their hexadecimal ids.

    `sampled` is True if its caller keeps the trace. `state` is the caller's `tracestate` header.
    `is_local` is True for a span of this process, which a tracer of the application made.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""
    is_local: bool = False


def current_trace() -> TraceContext | None:
    """Return the current span of OpenTelemetry, if there is one."""
    # Some libraries import OpenTelemetry's API without its SDK; then nothing is sampled.
    if SDK not in sys.modules:
        return None
    span = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
    if not span.is_valid:
        return None
    trace_id, span_id = format(span.trace_id, "032x"), format(span.span_id, "016x")
    sampled, state = bool(span.trace_flags.sampled), span.trace_state.to_header()
    return TraceContext(trace_id, span_id, sampled, state, is_local=True)


def sampled_id(trace: TraceContext | None) -> str:
    """Return the id of a trace that its caller keeps; empty for any other."""
    return trace.trace_id if trace is not None and trace.sampled else ""


def trace_of(headers: Iterable[tuple[bytes, bytes]]) -> TraceContext | None:
    """Return the trace of a valid `traceparent` header, if any."""
    parent: bytes | None = None
    states: list[bytes] = []
    for name, value in headers:
        if name == _TRACEPARENT_NAME:
            if parent is not None:
                return None  # which one is true?
            parent = value
        elif name == _TRACESTATE_NAME:
            states.append(value)
    return None if parent is None else _parsed(parent, b",".join(states))


def _parsed(parent: bytes, state: bytes) -> TraceContext | None:
    match = _TRACEPARENT.match(parent)
    if match is None or not _is_whole(parent, match.end()):
        return None
    trace_id, span_id = match[1].decode(), match[2].decode()
    if not (int(trace_id, 16) and int(span_id, 16)):
        return None
    kept = state.decode("latin-1") if len(state) <= _MAX_STATE else ""
    return TraceContext(trace_id, span_id, bool(int(match[3], 16) & 1), kept)


def _is_whole(parent: bytes, end: int) -> bool:
    """Return whether nothing follows the fields of version 00, or only more fields of a later."""
    rest = parent[end:]
    return not rest or (not parent.startswith(b"00") and rest.startswith(b"-"))
