"""Measure the time of a diagnosis: of one service with a day of data, and of a hundred services.

`python -m benchmarks.diagnosis` prints the table, and exits 1 if a target is missed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, time

from benchmarks.measurements import Measurement, as_markdown, rounds, verdict
from benchmarks.monitoring.history import Service as Target
from benchmarks.monitoring.history import Span, fill
from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, gather, services
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.queries import series_names
from safelight.stories.replay import replay

_HOUR, _DAY = 3600, 86_400
_SCRAPE_SECONDS = 15
_ROUNDS = 7
_SERVICES = 100


def one() -> Iterator[Measurement]:
    """Yield the time for one service with a day of samples every 15 s."""
    now = int(time())
    spans = [Span(now - _DAY - _HOUR, now, _SCRAPE_SECONDS)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = fill([Target("instructpix2pix", "edit", "10.0.0.1:8000")], spans, folder)
        yield Measurement("samples of a service's day", samples, "samples")
        with replay(folder) as prometheus:
            first = _seconds(prometheus, now)
            repeated = median(_seconds(prometheus, now) for _ in range(rounds(_ROUNDS)))
    yield Measurement("first diagnosis of one service", first, "s", 1)
    yield Measurement("repeated diagnosis of one service, median", repeated, "s", 1)


def many() -> Iterator[Measurement]:
    """Yield the time for a hundred services with five hours of samples and one hour a day ago.

    The samples are one per minute, and every 15 s in the last twenty minutes. Only the series that
    the diagnosis queries are written.
    """
    now = int(time())
    spans = [
        Span(now - _DAY - _HOUR, now - _DAY, 60),
        Span(now - 5 * _HOUR, now - 1200, 60),
        Span(now - 1200, now, _SCRAPE_SECONDS),
    ]
    targets = [
        Target(f"model_{n % 10}", f"service-{n}", f"10.0.{n}.1:8000") for n in range(_SERVICES)
    ]
    queried = {name for target in targets for name in series_names(target.namespace)}
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = fill(targets, spans, folder, queried.__contains__)
        yield Measurement("samples of a hundred services' five hours", samples, "samples")
        with replay(folder) as prometheus:
            seconds = _seconds(prometheus, now, expected=_SERVICES)
    yield Measurement("diagnosis of a hundred services", seconds, "s", 20)


def _seconds(prometheus: Prometheus, at: float, expected: int = 1) -> float:
    """Return the seconds that `safelight diagnose` needs for all services."""
    started = perf_counter()
    present = services(prometheus, at)
    for service in present:
        _diagnose(prometheus, service, at)
    assert len(present) == expected
    return perf_counter() - started


def _diagnose(prometheus: Prometheus, service: Service, at: float) -> None:
    evidence = gather(prometheus, service, at)
    assert evidence.requests > 0
    judge(evidence)


def main() -> int:
    """Measure, print the table, and return the exit code."""
    measurements = []
    for part in (one, many):
        print(f"{part.__name__} …", file=sys.stderr)
        for measurement in part():
            print(
                f"{measurement.name}: {measurement.value:.3g} {measurement.unit}", file=sys.stderr
            )
            measurements.append(measurement)
    print("\n".join(as_markdown(measurements)))
    return verdict(measurements)


if __name__ == "__main__":
    sys.exit(main())
