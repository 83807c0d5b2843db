"""Which trace a request belongs to. Reads OpenTelemetry where it is used; never starts it."""

import re
import sys
from collections.abc import Iterable

# W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})")
_NO_TRACE = b"0" * 32


def current_trace_id() -> str | None:
    """Return the id of the sampled OpenTelemetry span that is current here, if any."""
    # Without its SDK, OpenTelemetry's API (which some libraries import) samples nothing.
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    context = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
    return format(context.trace_id, "032x") if context.trace_flags.sampled else None


def trace_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the trace id of a sampled `traceparent` header, if there is one."""
    for name, value in headers:
        if name == b"traceparent":
            found = _TRACEPARENT.fullmatch(value)
            sampled = found is not None and int(found[2], 16) & 1 and found[1] != _NO_TRACE
            return found[1].decode() if found and sampled else None
    return None
