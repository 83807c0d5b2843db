"""Past data of simulated services in a real Prometheus, for tests that query it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Evidence, Service, gather
from safelight.diagnosis.finding import Finding, Severity
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.queries import series_names
from safelight.stories.conditions import Conditions
from safelight.stories.history import Samples, Simulation, named, scrapes, simulate, write_blocks
from safelight.stories.replay import replay
from tests.truth.scene import NOW, stages

NAMESPACE = "instructpix2pix"
HEALTHY = Conditions(rate=1.0)
SLOW = replace(HEALTHY, stages=stages(HEALTHY, decode=1.0))
FAULT_BEGIN = -600  # seconds, relative to the diagnosis
At = Callable[[float], Conditions]


def samples_of(job: str, conditions: At, *, past: int = 4500, until: int = 0) -> Samples:
    """Return the samples of a service. Times are relative to the diagnosis, in seconds.

    It is scraped from `past` seconds before on, once a minute and at last every 15 s.
    """
    service = Simulation(NAMESPACE, job, lambda _, at: conditions(at - NOW), seed=len(job))
    dense = NOW - min(past, 960)
    times = scrapes((NOW - past, dense, 60), (dense, NOW + until + 1, 15))
    return simulate(service, times, named(series_names(NAMESPACE)))


def healthy(_: float) -> Conditions:
    return HEALTHY


def becomes_slow(t: float) -> Conditions:
    return SLOW if t >= FAULT_BEGIN else HEALTHY


@contextmanager
def prometheus(folder: Path, *services: Samples) -> Iterator[Prometheus]:
    """Start a Prometheus with the samples of the services."""
    write_blocks(services, folder)
    with replay(folder) as client:
        yield client


def evidence_of(client: Prometheus, job: str, at: float = NOW) -> Evidence:
    return gather(client, Service(NAMESPACE, job), at)


def warnings(client: Prometheus, job: str, at: float = NOW) -> list[Finding]:
    """Return the findings of severity warning or above."""
    return [f for f in judge(evidence_of(client, job, at)) if f.sign.severity >= Severity.WARNING]


def warning_names(client: Prometheus, job: str, at: float = NOW) -> list[str]:
    return [finding.check.name for finding in warnings(client, job, at)]
