import pytest

from safelight.metrics.catalog import (
    HTTP_REQUEST_BYTES,
    HTTP_REQUESTS,
    HTTP_RESPONSE_BYTES,
    HTTP_SECONDS,
)
from safelight.metrics.registry import Meter
from safelight.probes.request_counts import Key, RequestCounts
from tests.probes.web import TRACE
from tests.reading import OPENMETRICS, at_once, text, value

KEY: Key = ("/hello", "GET", 200)


def http_lines(meter: Meter) -> list[str]:
    return [line for line in text(meter).splitlines() if line.startswith("http_")]


def test_a_request_is_counted_in_four_metrics() -> None:
    meter = Meter("pix")
    RequestCounts(meter).count(KEY, (0.2, 30, 400), "")
    assert value(meter, HTTP_REQUESTS, handler="/hello", method="GET", status="200") == 1
    assert value(meter, HTTP_SECONDS, "_sum", handler="/hello") == 0.2
    assert value(meter, HTTP_REQUEST_BYTES, "_sum") == 30
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum") == 400


def test_requests_counted_later_are_in_the_next_scrape() -> None:
    meter = Meter("pix")
    counts = RequestCounts(meter).waiting(KEY)
    for number in range(1, 1001):
        counts.later((0.001, 1, 2))
        if number % 100 == 0:
            assert value(meter, HTTP_REQUESTS) == number
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum") == 2000


def test_the_trace_of_a_request_is_its_exemplar() -> None:
    meter = Meter("pix")
    RequestCounts(meter).count(KEY, (0.001, 1, 2), TRACE)
    assert f'trace_id="{TRACE}"' in text(meter, OPENMETRICS)


def test_requests_counted_one_by_one_and_later_have_the_same_metrics() -> None:
    one_by_one, later = Meter("pix"), Meter("pix")
    for number in range(200):
        measured = (number / 1024, number, 2 * number)
        RequestCounts(one_by_one).count(KEY, measured, "")
        RequestCounts(later).waiting(KEY).later(measured)
    assert http_lines(later) == http_lines(one_by_one)


@pytest.mark.parametrize("may_wait", [False, True])
def test_any_number_of_methods_is_counted_completely(may_wait: bool) -> None:
    meter = Meter("pix")
    counts = RequestCounts(meter)
    for number in range(2000):
        key = ("/hello", f"M{number}", 200)
        counts.count(key, (0.001, 1, 2), "", may_wait=may_wait)
    assert value(meter, HTTP_REQUESTS) == 2000
    assert value(meter, HTTP_RESPONSE_BYTES, "_sum") == 4000


def test_requests_of_many_threads_are_each_counted_once() -> None:
    meter = Meter("pix")
    counts = RequestCounts(meter).waiting(KEY)

    def work(_: int) -> None:
        for _ in range(1000):
            counts.later((0.001, 1, 2))

    at_once(work, 4)
    assert value(meter, HTTP_REQUESTS) == 4000
