"""Durations and times as users write them."""

from time import time

import httpx
import pytest

from safelight.cli.times import PAST, WINDOW, Bounds, parse_age, parse_span, parse_time
from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import BadSetting
from tests.truth.scene import NOW


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), (" 24h ", 86_400), ("7d", 604_800), ("4w", 2_419_200)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds


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
def test_an_invalid_duration_is_refused_with_examples_and_limits(text: str, bounds: Bounds) -> None:
    with pytest.raises(
        BadSetting, match=r"not a valid duration. Write it like 90s, 5m, 24h or 7d"
    ) as refused:
        parse_span(text, bounds)
    assert bounds.words in str(refused.value)
    assert all(parse_span(each, bounds) for each in ("90s", "5m", "24h", "7d"))


def test_an_age_uses_the_local_clock() -> None:
    assert time() - parse_age("2h") == pytest.approx(7200, abs=5)


def test_now_uses_the_clock_of_prometheus() -> None:
    date = {"date": "Mon, 02 Mar 2026 12:20:00 GMT"}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, headers=date))
    with Prometheus("http://far", transport=transport) as client:
        assert parse_time(None, client) == NOW
        assert parse_time("2h", client) == NOW - 7200
        assert parse_time("2026-03-02T12:20:00+01:00", client) == NOW - 3600
