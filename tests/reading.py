"""Helpers for tests: read metrics of a meter, fake clock, threads and timing."""

import asyncio
import threading
from collections.abc import Callable
from time import thread_time
from typing import Any, Protocol

import httpx
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
    return [row for row, _ in _samples(source, metric, suffix, labels)]


def value(source: Source, metric: Metric, suffix: str = "", /, **labels: str) -> float:
    """Return the sum of the metric's series that have these labels. At least one must exist."""
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
    """A clock whose time the test sets."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class MovedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock the test moves."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        super().__init__()

    def time(self) -> float:
        return self.clock()


def at_once(work: Callable[[int], object], threads: int = 8) -> None:
    """Run `work(n)` in threads that start together. Raise the first failure."""
    failures: list[BaseException] = []
    gate = threading.Barrier(threads)

    def run(number: int) -> None:
        try:
            gate.wait()
            work(number)
        except BaseException as failure:
            failures.append(failure)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one call, without the time of other processes."""
    started = thread_time()
    work()
    return thread_time() - started


def slowness() -> float:
    """Return how many times slower this machine is than the reference machine, at least 1.

    On the reference machine, prometheus_client writes a line in 5.2 µs.
    """
    registry = CollectorRegistry()
    counter = Counter("yardstick", "A yardstick.", ["place"], registry=registry)
    for place in range(1000):
        counter.labels(f"{place}").inc()
    lines = generate_latest(registry).count(b"\n")
    best = min(processor_seconds(lambda: generate_latest(registry)) for _ in range(5))
    return max(1.0, best / lines / 5.2e-6)


def page_of(url: str, client: httpx.Client) -> str:
    """Return a service's metrics. On a busy machine the page is refused for a second at a time."""
    for _ in range(20):
        page = client.get(url)
        if page.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return page.raise_for_status().text
    raise AssertionError(f"{url} was refused twenty times")
