"""The page Now says which service needs somebody, by the data of a real Prometheus."""

from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Event

import pytest

from safelight.console.overview import Overview, Reader, state
from safelight.dashboards.board import Better, Panel, Shape
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.errors import MonitoringFailed
from safelight.rules.thresholds import Thresholds


@pytest.fixture(scope="module")
def overview(past: Prometheus) -> Overview:
    reader = Reader(past, lambda _: Thresholds())
    reader.read()
    reader.wait()
    return reader.read()


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
    assert service.is_judged
    assert service.finding is not None
    assert "change_background" in service.finding["title"] + service.finding["verdict"]
    assert service.finding["remedy"]


def test_the_numbers_do_not_wait_for_the_diagnosis(past: Prometheus) -> None:
    may, told = Event(), []

    class Slow(Prometheus):
        """Answers no question for a curve until it may."""

        def curve(self, *asked: object) -> list[Series]:
            """Return a curve."""
            assert may.wait(60)
            return super().curve(*asked)  # type: ignore[arg-type]

    with Slow(past.url) as slow:
        reader = Reader(slow, lambda _: Thresholds(), judged=lambda: told.append("judged"))
        [service] = reader.read().services
        assert (len(service.stats), service.finding, service.is_judged) == (8, None, False)
        assert service.stats[0].values
        assert told == []
        may.set()
        reader.wait()
        assert told == ["judged"]
        [service] = reader.read().services
        assert service.is_judged
        assert service.finding is not None


def test_the_questions_of_a_reading_are_asked_in_parallel(past: Prometheus) -> None:
    together = Barrier(6)

    class Counted(Prometheus):
        """Answers a question for a number when six are asked."""

        def instant(self, query: str, at: float) -> list[Series]:
            """Return numbers."""
            with suppress(BrokenBarrierError):
                together.wait(10)
                parallel.append(query)
            return super().instant(query, at)

    parallel: list[str] = []
    with Counted(past.url) as counted:
        reader = Reader(counted, lambda _: Thresholds())
        reader.read()
        assert len(parallel) >= 6
        together.abort()
        reader.wait()


def test_a_diagnosis_is_kept_for_half_a_minute(past: Prometheus) -> None:
    now = 0.0
    reader = Reader(past, lambda _: Thresholds(), clock=lambda: now)

    def questions() -> int:
        began = past.requests
        reader.read()
        reader.wait()
        return past.requests - began

    first = questions()
    assert questions() < first
    now = 30.0
    assert questions() == first


def test_a_service_whose_diagnosis_fails_is_not_called_judged(past: Prometheus) -> None:
    now, fails = 0.0, False

    class Failing(Prometheus):
        """Fails when told so."""

        def curve(self, *asked: object) -> list[Series]:
            """Return a curve."""
            if fails:
                raise MonitoringFailed("too slow")
            return super().curve(*asked)  # type: ignore[arg-type]

    with Failing(past.url) as failing:
        reader = Reader(failing, lambda _: Thresholds(), clock=lambda: now)

        def is_judged() -> bool:
            reader.read()
            reader.wait()
            [service] = reader.read().services
            reader.wait()
            return service.is_judged

        assert is_judged()
        now, fails = 30.0, True
        assert not is_judged()
        fails = False
        assert is_judged()


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
