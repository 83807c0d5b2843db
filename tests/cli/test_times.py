"""Spans and moments, as users write them."""

from time import time

import httpx
import pytest

from safelight.cli.times import PAST, WINDOW, Bounds, ago, moment_of, span_of
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import BadSetting
from tests.truth.scene import NOW


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), (" 24h ", 86_400), ("7d", 604_800), ("4w", 2_419_200)],
)
def test_a_span_is_a_number_and_its_unit(text: str, seconds: int) -> None:
    assert span_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("", PAST),
        ("0d", PAST),
        ("5", PAST),
        ("m", PAST),
        ("-1h", PAST),
        ("1.5h", PAST),
        ("1h30m", PAST),
        ("yesterday", PAST),
        ("999999w", PAST),
        ("9s", WINDOW),
        ("8d", WINDOW),
    ],
)
def test_what_is_no_span_is_told_with_examples_that_are_and_the_limits(
    text: str, bounds: Bounds
) -> None:
    with pytest.raises(
        BadSetting, match=r"no span of time; write it like 90s, 5m, 24h or 7d"
    ) as no:
        span_of(text, bounds)
    assert bounds.words in str(no.value)
    assert all(span_of(each, bounds) for each in ("90s", "5m", "24h", "7d"))


def test_so_long_ago_is_by_our_clock() -> None:
    assert time() - ago("2h") == pytest.approx(7200, abs=5)


def test_now_is_told_by_prometheus_clock_though_ours_is_another() -> None:
    date = {"date": "Mon, 02 Mar 2026 12:20:00 GMT"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=date))
    with Prometheus("http://far", transport=transport) as client:
        assert moment_of(None, client) == NOW
        assert moment_of("2h", client) == NOW - 7200
        assert moment_of("2026-03-02T12:20:00+01:00", client) == NOW - 3600
