"""Small pasts of simulated services, in a real Prometheus, for tests that ask it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safelight.diagnosis.evidence import Evidence, Service, Spans, gather
from safelight.diagnosis.facts import names_asked
from safelight.diagnosis.finding import Finding, Severity
from safelight.diagnosis.judge import judge
from safelight.diagnosis.prometheus import Prometheus
from safelight.stories.history import Play, named, play, scrapes, write
from safelight.stories.replay import replayed
from safelight.stories.conditions import Conditions
from tests.truth.scene import NOW, stages

NAMESPACE = "instructpix2pix"
WELL = Conditions(rate=1.0)
SLOW = replace(WELL, stages=stages(WELL, decode=1.0))
Weather = Callable[[int, float], Conditions]


def service(
    job: str, weather: Weather, *, instances: int = 1, past: int = 3600, until: int = NOW
) -> Iterator[object]:
    """Yield a service's texts; `weather` is asked with seconds since (before) the diagnosis."""
    shown = Play(NAMESPACE, job, lambda i, at: weather(i, at - NOW), instances, seed=len(job))
    times = scrapes((NOW - past, NOW - 960, 60), (max(NOW - 960, NOW - past), until + 1, 15))
    yield play(shown, times, named(names_asked(NAMESPACE)))


@contextmanager
def prometheus(folder: Path, *shown: Iterator[object]) -> Iterator[Prometheus]:
    """Start a Prometheus that holds the services' pasts."""
    write([texts for each in shown for texts in each], folder)  # type: ignore[misc]
    with replayed(folder) as client:
        yield client


def seen(client: Prometheus, job: str, at: float = NOW) -> Evidence:
    return gather(client, Service(NAMESPACE, job), at, Spans())


def warnings(client: Prometheus, job: str, at: float = NOW) -> list[Finding]:
    """Return what is found at severity warning or above."""
    return [f for f in judge(seen(client, job, at)) if f.sign.severity >= Severity.WARNING]
