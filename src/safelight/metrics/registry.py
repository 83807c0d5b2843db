"""Registry of one service's metrics: count them and write the exposition for Prometheus.

This is the only module that imports prometheus_client. Each Meter has its own registry, so one
process can have several. It never exposes more series than the catalogue allows: excess series
become `other`.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from time import perf_counter
from typing import Any, Protocol, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    Summary,
    start_http_server,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric as Exposed
from prometheus_client.openmetrics.exposition import ALLOWUTF8
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from safelight.metrics.catalog import (
    CATALOG,
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    PROBE_FAILURES,
    SERIES_FOLDED,
)
from safelight.metrics.metric import OTHER, Kind, Metric
from safelight.namespace import checked

Exemplar = dict[str, str]


class Child(Protocol):
    """One series of a metric. Keep it instead of looking it up in a hot loop."""

    def inc(self, amount: float = ..., exemplar: Exemplar | None = ...) -> None:
        """Add to a counter or gauge."""

    def set(self, value: float) -> None:
        """Set a gauge."""

    def set_function(self, function: Callable[[], float]) -> None:
        """Read a gauge's value from a function at each scrape."""

    def observe(self, amount: float, exemplar: Exemplar | None = ...) -> None:
        """Add an observation to a histogram or summary."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """Response to a scrape."""

    body: bytes
    content_type: str


class Meter:
    """Metrics of the catalogue for one namespace. Thread-safe.

    A metric is exposed after its first use: a metric that was never measured is absent, not 0.
    Raises ValueError if the namespace is malformed or reserved.
    """

    def __init__(self, namespace: str, *, clock: Callable[[], float] = perf_counter) -> None:
        self.namespace = checked(namespace)
        self._clock = clock
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._exposed: dict[Metric, MetricWrapperBase] = {}
        # Created here: at first use, two threads could each create one.
        self._children: dict[Metric, dict[tuple[str, ...], Child]] = defaultdict(
            dict, {metric: {} for metric in CATALOG}
        )
        self._totals: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._before_expose: list[Callable[[], None]] = []
        self._collector = _ScrapeView(self._registry, self._before_expose)
        ProcessCollector(registry=self._registry)
        self.start_at_zero(PROBE_FAILURES)

    def child(self, metric: Metric, *values: str) -> Child:
        """Return the series with these label values, in the order of the metric's labels.

        Unknown values of closed labels, and series beyond the metric's maximum, become `other`.
        """
        child = self._children[metric].get(values)
        return child if child is not None else self._admit(metric, values)

    def add(self, metric: Metric, *values: str, amount: float = 1) -> None:
        """Add to a counter or gauge."""
        self.child(metric, *values).inc(amount)

    def set(self, metric: Metric, *values: str, value: float) -> None:
        """Set a gauge."""
        self.child(metric, *values).set(value)

    def observe(
        self, metric: Metric, *values: str, value: float, exemplar: Exemplar | None = None
    ) -> None:
        """Add an observation. The exemplar links its bucket to a trace."""
        child = self.child(metric, *values)
        child.observe(value, exemplar) if exemplar else child.observe(value)

    def merge(self, metric: Metric, *values: str, counts: Sequence[int], total: float) -> None:
        """Add many observations at once, by the count of each bucket and their sum.

        A summary has one bucket. prometheus_client has no such function, and observing one by one
        is too slow in a hot path, so this uses its private fields.
        """
        child: Any = self.child(metric, *values)
        buckets = [child._count] if metric.kind is Kind.SUMMARY else child._buckets  # noqa: SLF001
        for bucket, count in zip(buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        child._sum.inc(total)  # noqa: SLF001

    def set_total(self, metric: Metric, *values: str, value: float) -> None:
        """Advance a counter to an external total. If the total fell, it restarted from 0."""
        with self._lock:
            last = self._totals.get((metric, values), 0.0)
            self._totals[metric, values] = value
        self.add(metric, *values, amount=value - last if value >= last else value)

    def start_at_zero(self, *counters: Metric) -> None:
        """Expose counters with one closed label at 0, so that `increase` sees their first event."""
        for metric in counters:
            values = metric.labels[0].values or () if metric.labels else ()
            for labels in ((value,) for value in values) if metric.labels else ((),):
                self.child(metric, *labels)

    def forget(self, metric: Metric, *values: str) -> None:
        """Remove the metric's series whose first labels have these values."""
        with self._lock:
            children = self._children[metric]
            for labels in [key for key in children if key[: len(values)] == values]:
                del children[labels]
                self._totals.pop((metric, labels), None)
                if labels:
                    self._exposed[metric].remove(*labels)

    def probe_failed(self, probe: str) -> None:
        """Count a failure of a probe."""
        self.add(PROBE_FAILURES, probe)

    def before_expose(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call this function before every exposition. Return the function that ends it."""
        self._before_expose.append(callback)
        return lambda: self._before_expose.remove(callback)

    def expose(self, accept: str = "") -> Exposition:
        """Return the exposition in the format of an Accept header.

        This is OpenMetrics with exemplars if the header names it, else Prometheus' text format.
        Takes milliseconds: call it from a thread, not from an event loop.
        """
        started = self._clock()
        encode, content_type = choose_encoder(accept)
        # Names of the catalogue need no escaping, and this scheme is faster.
        write = cast("Callable[..., bytes]", encode)
        body = write(self._collector, escaping=ALLOWUTF8)
        self.set(EXPOSITION_SECONDS, value=self._clock() - started)
        self.set(EXPOSITION_LINES, value=body.count(b"\n"))
        return Exposition(body, content_type)

    def children(self) -> Iterator[tuple[Metric, tuple[str, ...], Child]]:
        """Yield each exposed series: its metric, its label values and its child object."""
        for callback in self._before_expose:
            callback()
        for metric, children in list(self._children.items()):
            for values, child in list(children.items()):
                yield metric, values, child

    def serve(self, port: int, host: str = "127.0.0.1") -> Callable[[], None]:
        """Serve /metrics on its own port, for programs without a web server.

        Returns the function that stops it.
        """
        server, thread = start_http_server(port, host, registry=self._collector)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop

    def _register(self, metric: Metric) -> MetricWrapperBase:
        name = metric.full_name(self.namespace)
        if metric.kind is Kind.HISTOGRAM:
            return Histogram(
                name,
                metric.help,
                metric.label_names,
                registry=self._registry,
                buckets=metric.buckets,
            )
        if metric.kind is Kind.SUMMARY:
            return Summary(name, metric.help, metric.label_names, registry=self._registry)
        kind = Counter if metric.kind is Kind.COUNTER else Gauge
        return kind(name, metric.help, metric.label_names, registry=self._registry)

    def _admit(self, metric: Metric, values: tuple[str, ...]) -> Child:
        labels = tuple(
            value if label.values is None or value in label.values else OTHER
            for label, value in zip(metric.labels, values, strict=True)
        )
        others = (OTHER,) * len(labels)
        with self._lock:
            children = self._children[metric]
            reserved = not (metric.bounded or metric.reserves_extra or others in children)
            folded = labels not in children and len(children) >= metric.series - reserved
            if folded:
                labels = others
            if labels not in children:
                exposed = self._exposed.get(metric) or self._register(metric)
                self._exposed[metric] = exposed
                children[labels] = cast("Child", exposed.labels(*labels) if labels else exposed)
            child = children[labels]
        if folded and metric is not SERIES_FOLDED:
            self.add(SERIES_FOLDED, metric.name)
        return child


def parts(metric: Metric) -> list[tuple[str, str]]:
    """Return the samples of a series: suffixes of its name, and bucket edges."""
    if metric.kind is Kind.SUMMARY:
        return [("_count", ""), ("_sum", "")]
    if metric.kind is not Kind.HISTOGRAM:
        return [("", "")]
    edges = [repr(float(edge)) if edge < inf else "+Inf" for edge in (*metric.buckets, inf)]
    return [*(("_bucket", edge) for edge in edges), ("_count", ""), ("_sum", "")]


def current(metric: Metric, series: Child) -> list[float]:
    """Return the values of a series' samples, from private fields of prometheus_client."""
    child: Any = series
    if metric.kind is Kind.HISTOGRAM:
        counts = list(accumulate(bucket.get() for bucket in child._buckets))  # noqa: SLF001
        return [*counts, counts[-1], child._sum.get()]  # noqa: SLF001
    if metric.kind is Kind.SUMMARY:
        return [child._count.get(), child._sum.get()]  # noqa: SLF001
    return [child._value.get()]  # noqa: SLF001


class _ScrapeView(Collector):
    """The registry as scrapes read it: with all delayed counts.

    Drops the `_created` samples, which double the number of lines and have no use here.
    """

    def __init__(self, registry: CollectorRegistry, before: list[Callable[[], None]]) -> None:
        self._registry = registry
        self._before = before

    def collect(self) -> Iterator[Exposed]:
        for callback in list(self._before):
            callback()
        for family in self._registry.collect():
            family.samples = [s for s in family.samples if not s.name.endswith("_created")]
            yield family


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(exposition: str) -> Samples:
    """Return every sample of a text exposition: (name, labels) to value."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def where(samples: Samples, name: str, **labels: str) -> Iterable[tuple[dict[str, str], float]]:
    """Return the samples with this name and these labels."""
    matchers = set(labels.items())
    return (
        (dict(pairs), value)
        for (sample, pairs), value in samples.items()
        if sample == name and matchers <= pairs
    )
