"""How tests read a meter: by metric, never by a name written out."""

import threading
from collections.abc import Callable
from time import thread_time
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, generate_latest

from safelight.metrics.metric import Metric
from safelight.metrics.registry import Exposition, parse, where

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


class Source(Protocol):
    """A Meter or a Watch."""

    def expose(self, accept: str = "") -> Exposition: ...


def text(source: Source, accept: str = "") -> str:
    return source.expose(accept).body.decode()


def series(
    source: Source, metric: Metric, suffix: str = "", /, **labels: str
) -> list[dict[str, str]]:
    """Return the labels of every exposed series of the metric that has these labels."""
    return [found for found, _ in _samples(source, metric, suffix, labels)]


def value(source: Source, metric: Metric, suffix: str = "", /, **labels: str) -> float:
    """Return the sum of the metric's series that have these labels; there must be one."""
    values = [number for _, number in _samples(source, metric, suffix, labels)]
    assert values, f"{metric.name}{suffix} has no series with {labels}"
    return sum(values)


def _samples(
    source: Source, metric: Metric, suffix: str, labels: dict[str, str]
) -> list[tuple[dict[str, str], float]]:
    meter: Any = getattr(source, "meter", source)
    name = metric.full_name(meter.namespace) + suffix
    return list(where(parse(text(source)), name, **labels))


class FakeClock:
    """A clock that moves when told."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def at_once(work: Callable[[int], object], threads: int = 8) -> None:
    """Run `work(n)` in so many threads that all begin together; a failure of one is the test's."""
    failures: list[BaseException] = []
    gate = threading.Barrier(threads)

    def run(number: int) -> None:
        try:
            gate.wait()
            work(number)
        except BaseException as failure:
            failures.append(failure)

    started = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if failures:
        raise failures[0]


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call: what else the machine does is not ours."""
    started = thread_time()
    work()
    return thread_time() - started


def slowness() -> float:
    """Return how much slower than the machine that the targets were set on this one is, now.

    There, prometheus_client wrote a line in 5.2 µs. A faster machine counts as that one.
    """
    registry = CollectorRegistry()
    counter = Counter("yardstick", "A yardstick.", ["place"], registry=registry)
    for place in range(1000):
        counter.labels(f"{place}").inc()
    lines = generate_latest(registry).count(b"\n")
    best = min(processor_seconds(lambda: generate_latest(registry)) for _ in range(5))
    return max(1.0, best / lines / 5.2e-6)
