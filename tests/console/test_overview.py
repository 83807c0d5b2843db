"""The page Now says which service needs somebody, by the data of a real Prometheus."""

import pytest

from safelight.console.overview import Overview, Reader, state
from safelight.dashboards.board import Better, Panel, Shape
from safelight.diagnosis.prometheus import Prometheus
from safelight.rules.thresholds import Thresholds


@pytest.fixture(scope="module")
def overview(past: Prometheus) -> Overview:
    return Reader(past, lambda _: Thresholds()).read()


def test_each_service_has_the_eight_numbers_of_the_live_dashboard(overview: Overview) -> None:
    [service] = overview.services
    assert (service.job, service.namespace) == ("safelight", "instructpix2pix")
    assert len(service.stats) == 8
    numbers = {stat.title: stat for stat in service.stats}
    assert numbers["How many requests per second?"].values[0][1] == pytest.approx(0.8, rel=0.3)
    failing = numbers["How many fail?"]
    assert failing.state == "bad"
    assert failing.values[0][1] == pytest.approx(0.18, rel=0.4)


def test_a_number_has_its_values_of_the_last_half_hour(overview: Overview) -> None:
    [service] = overview.services
    trends = {stat.title: stat.trend for stat in service.stats}
    rates = trends["How many requests per second?"]
    assert len(rates) == 31
    assert rates == pytest.approx([0.8] * 31, rel=0.5)
    assert trends["How much error budget is left?"] == ()  # it has no value


def test_a_service_has_the_first_finding_of_its_diagnosis(overview: Overview) -> None:
    [service] = overview.services
    assert service.finding is not None
    assert "change_background" in service.finding["title"] + service.finding["verdict"]
    assert service.finding["remedy"]


def test_a_diagnosis_is_kept_for_half_a_minute(past: Prometheus) -> None:
    now = 0.0
    reader = Reader(past, lambda _: Thresholds(), clock=lambda: now)
    reader.read()
    began = past.requests
    reader.read()
    cheap = past.requests - began
    now = 30.0
    began = past.requests
    reader.read()
    assert past.requests - began > cheap


def test_a_prometheus_that_is_gone_is_said_in_words() -> None:
    with Prometheus("http://127.0.0.1:9") as gone:
        overview = Reader(gone, lambda _: Thresholds()).read()
    assert overview.services == ()
    assert "Prometheus at http://127.0.0.1:9 cannot be queried" in overview.problem


@pytest.mark.parametrize(
    ("better", "value", "expected"),
    [
        (Better.LOW, 2.9, "good"),
        (Better.LOW, 3.0, "bad"),
        (None, 3.0, "bad"),
        (Better.HIGH, 3.0, "good"),
        (Better.HIGH, 2.9, "bad"),
    ],
)
def test_a_number_is_bad_where_grafana_paints_it_red(
    better: Better | None, value: float, expected: str
) -> None:
    panel = Panel("", "", Shape.NUMBER, "s", (), limit=3.0, better=better)
    assert state(panel, (("now", value),)) == expected


def test_a_number_without_a_value_is_unknown_and_not_good() -> None:
    panel = Panel("", "", Shape.NUMBER, "s", (), limit=3.0)
    assert state(panel, ()) == "unknown"
