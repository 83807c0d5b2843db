"""Small pasts of simulated services, in a real Prometheus, for tests that ask it."""

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
WELL = Conditions(rate=1.0)
SLOW = replace(WELL, stages=stages(WELL, decode=1.0))
SINCE = -600  # the seconds, from the diagnosis, at which faults begin
Timeline = Callable[[float], Conditions]


def shown(job: str, conditions: Timeline, *, past: int = 4500, until: int = 0) -> Samples:
    """Return what a service showed; times are told from the diagnosis, those before are negative.

    It was scraped from `past` seconds before on, once a minute and lately every 15 s.
    """
    show = Simulation(NAMESPACE, job, lambda _, at: conditions(at - NOW), seed=len(job))
    lately = NOW - min(past, 960)
    times = scrapes((NOW - past, lately, 60), (lately, NOW + until + 1, 15))
    return simulate(show, times, named(series_names(NAMESPACE)))


def well(_: float) -> Conditions:
    return WELL


def turns_slow(t: float) -> Conditions:
    return SLOW if t >= SINCE else WELL


@contextmanager
def prometheus(folder: Path, *services: Samples) -> Iterator[Prometheus]:
    """Start a Prometheus that holds the services' pasts."""
    write_blocks(services, folder)
    with replay(folder) as client:
        yield client


def seen(client: Prometheus, job: str, at: float = NOW) -> Evidence:
    return gather(client, Service(NAMESPACE, job), at)


def warned(client: Prometheus, job: str, at: float = NOW) -> list[Finding]:
    """Return what is found at severity warning or above."""
    return [f for f in judge(seen(client, job, at)) if f.sign.severity >= Severity.WARNING]


def said(client: Prometheus, job: str, at: float = NOW) -> list[str]:
    return [finding.check.name for finding in warned(client, job, at)]
