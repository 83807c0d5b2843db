"""How long a diagnosis takes: of one service with a day of data, and of a hundred.

`python -m benchmarks.diagnosis` prints the table, and exits 1 where a target is missed.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, time

from benchmarks.figures import Figure, as_markdown, rounds, verdict
from benchmarks.monitoring.history import Service as Target
from benchmarks.monitoring.history import Span, fill
from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, gather, services
from safelight.diagnosis.prometheus import Prometheus
from safelight.diagnosis.queries import series_names
from safelight.stories.replay import replay

_HOUR, _DAY = 3600, 86_400
_SCRAPE_SECONDS = 15
_SEVERAL = 7
_MANY = 100


def one() -> Iterator[Figure]:
    """Yield how long one service takes: the day before, all of it scraped every 15 s."""
    now = int(time())
    spans = [Span(now - _DAY - _HOUR, now, _SCRAPE_SECONDS)]
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = fill([Target("instructpix2pix", "edit", "10.0.0.1:8000")], spans, folder)
        yield Figure("samples of a service's day", samples, "samples")
        with replay(folder) as prometheus:
            first = _whole(prometheus, now)
            took = sorted(_whole(prometheus, now) for _ in range(rounds(_SEVERAL)))
    yield Figure("diagnosis of one service, the first time", first, "s", 1)
    yield Figure("the same again, the median", took[len(took) // 2], "s", 1)


def many() -> Iterator[Figure]:
    """Yield how long a hundred services take: five hours, and the hour that is a day ago.

    Scraped once a minute, and every 15 s in the last twenty; only what is asked for is kept.
    """
    now = int(time())
    spans = [
        Span(now - _DAY - _HOUR, now - _DAY, 60),
        Span(now - 5 * _HOUR, now - 1200, 60),
        Span(now - 1200, now, _SCRAPE_SECONDS),
    ]
    targets = [Target(f"model_{n % 10}", f"service-{n}", f"10.0.{n}.1:8000") for n in range(_MANY)]
    wanted = {name for target in targets for name in series_names(target.namespace)}
    with TemporaryDirectory() as name:
        folder = Path(name)
        samples = fill(targets, spans, folder, wanted.__contains__)
        yield Figure("samples of a hundred services' five hours", samples, "samples")
        with replay(folder) as prometheus:
            took = _whole(prometheus, now, expected=_MANY)
    yield Figure("diagnosis of a hundred services", took, "s", 20)


def _whole(prometheus: Prometheus, at: float, expected: int = 1) -> float:
    """Return the seconds that `safelight diagnose` needs for all services."""
    began = perf_counter()
    found = services(prometheus, at)
    for service in found:
        _look(prometheus, service, at)
    assert len(found) == expected
    return perf_counter() - began


def _look(prometheus: Prometheus, service: Service, at: float) -> None:
    evidence = gather(prometheus, service, at)
    assert evidence.requests > 0
    judge(evidence)


def main() -> int:
    """Measure, print the table, and return the exit code."""
    figures = []
    for part in (one, many):
        print(f"{part.__name__} …", file=sys.stderr)
        for figure in part():
            print(f"{figure.name}: {figure.value:.3g} {figure.unit}", file=sys.stderr)
            figures.append(figure)
    print("\n".join(as_markdown(figures)))
    return verdict(figures)


if __name__ == "__main__":
    sys.exit(main())
