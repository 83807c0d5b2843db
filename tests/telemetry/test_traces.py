import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from safelight.telemetry.traces import current_trace_id, trace_id_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_the_current_span_has_a_trace_id() -> None:
    with TracerProvider().get_tracer("test").start_as_current_span("one") as span:
        assert current_trace_id() == format(span.get_span_context().trace_id, "032x")


def test_outside_any_span_there_is_no_trace() -> None:
    assert current_trace_id() is None


def test_a_span_that_is_not_sampled_has_no_trace_id() -> None:
    tracer = TracerProvider(sampler=ALWAYS_OFF).get_tracer("test")
    with tracer.start_as_current_span("one"):
        assert current_trace_id() is None


def test_opentelemetry_is_not_loaded_if_it_is_not_used() -> None:
    program = (
        "import sys; from safelight.telemetry.traces import current_trace_id; "
        "assert current_trace_id() is None; assert 'opentelemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_traceparent_header_has_a_trace_id() -> None:
    headers = [(b"accept", b"*/*"), (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    assert trace_id_of(headers) == TRACE


@pytest.mark.parametrize(
    "header",
    [
        f"00-{TRACE}-{SPAN}-00",  # not sampled
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        "",
        'x"} 1\nevil 1',
        "0" * 10_000,
    ],
)
def test_an_invalid_or_unsampled_header_is_ignored(header: str) -> None:
    assert trace_id_of([(b"traceparent", header.encode())]) is None


def test_without_the_header_there_is_no_trace() -> None:
    assert trace_id_of([]) is None
