from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from safelight.metrics.registry import Meter, parse, where
from safelight.probes.nvml import NvmlProbe
from safelight.probes.sampler import Sampler
from safelight.stack.tools.exporter import GpuReader, application
from tests.probes.nvidia import FakeGpu, FakeNvml

AGE = "safelight_probe_last_success_timestamp_seconds"


class Machine:
    """An exporter on a machine with these GPUs, and its reports."""

    def __init__(self, *gpus: FakeGpu, driver: bool = True) -> None:
        self.nvml = FakeNvml(*gpus, driver=driver)
        self.meter = Meter("zimage")
        self.reports: list[str] = []
        probe = NvmlProbe(self.meter, nvml=self.nvml)
        self.reader = GpuReader(self.meter, probe, self.reports.append)

    def scrape(self, accept: str = "text/plain") -> Any:
        return TestClient(application(self.meter)).get("/metrics", headers={"accept": accept})

    def values(self, name: str) -> list[float]:
        return [value for _, value in where(parse(self.scrape().text), name)]

    def failures(self) -> float:
        series = where(parse(self.scrape().text), "safelight_probe_failures_total", probe="nvml")
        return sum(value for _, value in series)


def test_r4_the_gpus_are_exposed_with_safelights_metric_names() -> None:
    machine = Machine(FakeGpu(busy_percent=40), FakeGpu(busy_percent=90))
    assert machine.reader.read()
    assert machine.values("gpu_utilization_ratio") == [0.4, 0.9]
    assert machine.failures() == 0
    assert machine.reports == ["NVIDIA GPUs found; reading them."]


def test_without_a_driver_the_exporter_is_up_and_reports_the_reason() -> None:
    machine = Machine(driver=False)
    assert not machine.reader.read()
    assert not machine.reader.read()
    assert machine.scrape().status_code == httpx.codes.OK
    assert machine.values("gpu_utilization_ratio") == []
    assert machine.failures() == 2
    [line] = machine.reports
    assert "its driver is not loaded" in line
    assert "nvidia-smi" in line


def test_a_driver_that_loads_later_is_found() -> None:
    machine = Machine(FakeGpu(), driver=False)
    machine.reader.read()
    machine.nvml.driver = True
    assert machine.reader.read()
    assert machine.values("gpu_temperature_celsius") == [61]
    assert machine.reports[-1] == "NVIDIA GPUs found; reading them."


def test_without_the_driver_the_series_are_removed() -> None:
    machine = Machine(FakeGpu())
    machine.reader.read()
    machine.nvml.driver = False
    assert not machine.reader.read()
    assert machine.values("gpu_utilization_ratio") == []
    assert machine.failures() > 0


def test_a_driver_without_a_gpu_is_a_failure() -> None:
    machine = Machine()
    assert not machine.reader.read()
    assert machine.failures() == 1


def test_the_time_of_the_last_reading_is_exposed_only_after_one() -> None:
    machine = Machine(FakeGpu(), driver=False)
    sampler = Sampler(machine.meter, clock=iter(range(1000)).__next__, wall_clock=lambda: 123.0)
    sampler.every(0.5, "nvml", machine.reader.read)
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
def test_the_format_is_the_requested_one(accept: str, kind: str) -> None:
    response = Machine().scrape(accept)
    assert response.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/", 404), ("/metric", 404)])
def test_only_metrics_and_health_are_served(path: str, status: int) -> None:
    client: Any = TestClient(application(Meter("zimage")))
    assert client.get(path).status_code == client.head(path).status_code == status
