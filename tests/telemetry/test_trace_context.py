import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from safelight.telemetry.trace_context import TraceContext, current_trace, sampled_id, trace_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_the_current_span_is_the_trace() -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("one") as span:
        found, context = current_trace(), span.get_span_context()
    assert found is not None
    assert found.sampled
    assert found.is_local
    assert found.trace_id == sampled_id(found) == format(context.trace_id, "032x")
    assert found.span_id == format(context.span_id, "016x")


def test_outside_any_span_there_is_no_trace() -> None:
    assert current_trace() is None


def test_a_span_that_is_not_sampled_is_not_an_exemplar() -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")
    with tracer.start_as_current_span("one"):
        assert sampled_id(current_trace()) == ""


def test_opentelemetry_is_not_loaded_if_it_is_not_used() -> None:
    program = (
        "import sys; from safelight.telemetry.trace_context import current_trace; "
        "import safelight.telemetry.traces, safelight.watching; "
        "assert current_trace() is None; assert 'opentelemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",  # of a later version, which begins like this one
        f"fe-{TRACE}-{SPAN}-01-and-more",
    ],
)
def test_a_traceparent_header_is_the_trace(header: str) -> None:
    headers = [(b"accept", b"*/*"), (b"traceparent", header.encode()), (b"tracestate", b"a=1")]
    found = trace_of([*headers, (b"tracestate", b"b=2")])
    assert found == TraceContext(TRACE, SPAN, sampled=True, state="a=1,b=2")
    assert sampled_id(found) == TRACE


def test_the_trace_of_a_caller_that_samples_none_has_no_exemplar() -> None:
    found = trace_of([(b"traceparent", f"00-{TRACE}-{SPAN}-00".encode())])
    assert found == TraceContext(TRACE, SPAN, sampled=False)
    assert sampled_id(found) == ""


@pytest.mark.parametrize(
    "header",
    [
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE}-{SPAN}-01\n",
        f" 00-{TRACE}-{SPAN}-01",
        "",
        'x"} 1\nevil 1',
        "0" * 10_000,
    ],
)
def test_an_invalid_header_is_ignored(header: str) -> None:
    assert trace_of([(b"traceparent", header.encode())]) is None


def test_two_traceparent_headers_are_ignored() -> None:
    header = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert trace_of([header, header]) is None


def test_a_state_that_is_too_long_to_pass_on_is_dropped() -> None:
    headers = [(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()), (b"tracestate", b"a=" * 5000)]
    assert trace_of(headers) == TraceContext(TRACE, SPAN, sampled=True)


def test_without_the_header_there_is_no_trace() -> None:
    assert trace_of([(b"tracestate", b"a=1")]) is None
