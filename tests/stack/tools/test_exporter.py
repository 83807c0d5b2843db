from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from safelight.metrics.registry import Meter, parse, where
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.stack.tools.exporter import Cards, application
from tests.probes.nvidia import FakeGpu, FakeNvml

AGE = "safelight_probe_last_success_timestamp_seconds"


class Machine:
    """An exporter on a machine with these cards, and what it told."""

    def __init__(self, *cards: FakeGpu, driver: bool = True) -> None:
        self.nvml = FakeNvml(*cards, driver=driver)
        self.meter = Meter("zimage")
        self.told: list[str] = []
        self.cards = Cards(self.meter, NvmlProbe(self.meter, nvml=self.nvml), self.told.append)

    def scrape(self, accept: str = "text/plain") -> Any:
        return TestClient(application(self.meter)).get("/metrics", headers={"accept": accept})

    def values(self, name: str) -> list[float]:
        return [value for _, value in where(parse(self.scrape().text), name)]

    def failures(self) -> float:
        found = where(parse(self.scrape().text), "safelight_probe_failures_total", probe="nvml")
        return sum(value for _, value in found)


def test_r4_the_cards_are_exposed_under_our_names() -> None:
    machine = Machine(FakeGpu(busy_percent=40), FakeGpu(busy_percent=90))
    assert machine.cards.read()
    assert machine.values("gpu_utilization_ratio") == [0.4, 0.9]
    assert machine.failures() == 0
    assert machine.told == ["Cards are read."]


def test_without_a_driver_it_answers_and_says_why_there_are_no_cards() -> None:
    machine = Machine(driver=False)
    assert not machine.cards.read()
    assert not machine.cards.read()
    assert machine.scrape().status_code == httpx.codes.OK
    assert machine.values("gpu_utilization_ratio") == []
    assert machine.failures() == 2
    [line] = machine.told
    assert "its driver is not loaded" in line
    assert "nvidia-smi" in line


def test_a_driver_that_comes_later_is_found() -> None:
    machine = Machine(FakeGpu(), driver=False)
    machine.cards.read()
    machine.nvml.driver = True
    assert machine.cards.read()
    assert machine.values("gpu_temperature_celsius") == [61]
    assert machine.told[-1] == "Cards are read."


def test_a_driver_that_goes_takes_the_series_with_it() -> None:
    machine = Machine(FakeGpu())
    machine.cards.read()
    machine.nvml.driver = False
    assert not machine.cards.read()
    assert machine.values("gpu_utilization_ratio") == []
    assert machine.failures() > 0


def test_a_driver_without_a_card_counts_as_none() -> None:
    machine = Machine()
    assert not machine.cards.read()
    assert machine.failures() == 1


def test_the_age_of_a_reading_is_told_only_where_there_was_one() -> None:
    machine = Machine(FakeGpu(), driver=False)
    sampler = Sampler(machine.meter, clock=iter(range(1000)).__next__, wall_clock=lambda: 123.0)
    sampler.every(0.5, "nvml", machine.cards.read)
    sampler.tick()
    assert machine.values(AGE) == []
    machine.nvml.driver = True
    sampler.tick()
    assert machine.values(AGE) == [123.0]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/plain", "text/plain"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, kind: str) -> None:
    answer = Machine().scrape(accept)
    assert answer.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/", 404), ("/metric", 404)])
def test_only_metrics_and_health_are_answered(path: str, status: int) -> None:
    client: Any = TestClient(application(Meter("zimage")))
    assert client.get(path).status_code == status
