"""Find the trace id of a request, in OpenTelemetry's context or in a traceparent header."""

import re
import sys
from collections.abc import Iterable

# W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")
_TRACEPARENT_NAME = b"traceparent"
SDK = "opentelemetry.sdk.trace"
_NO_TRACE = b"0" * 32


def current_trace_id() -> str | None:
    """Return the trace id of the current sampled OpenTelemetry span, if any."""
    # Some libraries import OpenTelemetry's API without its SDK; then nothing is sampled.
    if SDK not in sys.modules:
        return None
    context = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.trace_flags.sampled else None


def has_trace(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return True if there is a `traceparent` header."""
    for name, _ in headers:  # noqa: SIM110 - faster than `any`
        if name == _TRACEPARENT_NAME:
            return True
    return False


def trace_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the trace id of a sampled `traceparent` header, if any."""
    for name, value in headers:
        if name == _TRACEPARENT_NAME:
            match = _TRACEPARENT.fullmatch(value)
            sampled = match is not None and int(match[2], 16) & 1 and match[1] != _NO_TRACE
            return match[1].decode() if match and sampled else None
    return None
