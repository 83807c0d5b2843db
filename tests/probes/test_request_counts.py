from safelight.metrics.catalog import (
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.registry import Meter
from safelight.probes.request_counts import Key, RequestCounts
from tests.probes.web import TRACE, TRACEPARENT
from tests.reading import OPENMETRICS, at_once, text, value

KEY: Key = ("/hello", "GET", 200)


def test_a_request_is_counted_in_four_metrics() -> None:
    meter = Meter("pix")
    RequestCounts(meter).count(KEY, 0.2, (30, 400), None)
    assert value(meter, HTTP_REQUESTS, handler="/hello", method="GET", status="200") == 1
    assert value(meter, HTTP_SECONDS, "_sum", handler="/hello") == 0.2
    assert value(meter, HTTP_REQUEST_BYTES, "_sum") == 30
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum") == 400


def test_requests_counted_later_are_in_the_next_scrape() -> None:
    meter = Meter("pix")
    counts = RequestCounts(meter)
    for number in range(1, 1001):
        counts.later((KEY, 0.001, (1, 2), None, ()))
        if number % 100 == 0:
            assert value(meter, HTTP_REQUESTS) == number
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum") == 2000


def test_the_trace_of_a_header_is_found_later() -> None:
    meter = Meter("pix")
    headers = [(b"host", b"test"), (b"traceparent", TRACEPARENT.encode())]
    RequestCounts(meter).later((KEY, 0.001, (1, 2), None, headers))
    assert f'trace_id="{TRACE}"' in text(meter, OPENMETRICS)


def test_requests_of_many_threads_are_each_counted_once() -> None:
    meter = Meter("pix")
    counts = RequestCounts(meter)

    def work(_: int) -> None:
        for _ in range(1000):
            counts.later((KEY, 0.001, (1, 2), None, ()))

    at_once(work, 4)
    assert value(meter, HTTP_REQUESTS) == 4000
