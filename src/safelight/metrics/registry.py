"""The only door to prometheus_client: one Meter counts for one service and writes the exposition.

A Meter has a registry of its own, so two services fit in one process and tests do not meet. It
never exposes more series than the catalogue allows: what is too many becomes `other`.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from time import perf_counter
from typing import Any, cast

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

Exemplar = dict[str, str]


@dataclass(frozen=True, slots=True)
class Exposition:
    """One answer to a scrape."""

    body: bytes
    content_type: str


class Meter:
    """Counts the metrics of the catalogue for one namespace. Safe to use from any thread.

    A metric is exposed from its first use on: what was never measured is absent, not 0.
    """

    def __init__(self, namespace: str, *, clock: Callable[[], float] = perf_counter) -> None:
        self.namespace = namespace
        self._clock = clock
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._exposed: dict[Metric, MetricWrapperBase] = {}
        # Made here, not at first use: two threads that miss at once would each make one.
        self._children: dict[Metric, dict[tuple[str, ...], Any]] = defaultdict(
            dict, {metric: {} for metric in CATALOG}
        )
        self._totals: dict[tuple[Metric, tuple[str, ...]], float] = {}
        self._before_expose: list[Callable[[], None]] = []
        self._as_read = _AsRead(self._registry, self._before_expose)
        ProcessCollector(registry=self._registry)
        self.start_at_zero(PROBE_FAILURES)

    def child(self, metric: Metric, *values: str) -> Any:
        """Return the series of these label values, in the order of the metric's labels.

        Values outside a closed set, and series beyond the metric's limit, become `other`.
        """
        found = self._children[metric].get(values)
        return found if found is not None else self._admit(metric, values)

    def add(self, metric: Metric, *values: str, amount: float = 1) -> None:
        """Add to a counter or gauge."""
        self.child(metric, *values).inc(amount)

    def set(self, metric: Metric, *values: str, value: float) -> None:
        """Set a gauge."""
        self.child(metric, *values).set(value)

    def observe(
        self, metric: Metric, *values: str, value: float, exemplar: Exemplar | None = None
    ) -> None:
        """Enter an observation; the exemplar ties its bucket to a trace."""
        child = self.child(metric, *values)
        child.observe(value, exemplar) if exemplar else child.observe(value)

    def merge(self, metric: Metric, *values: str, counts: Sequence[int], total: float) -> None:
        """Enter many observations at once: how many fell into each bucket, and their sum.

        A summary has one bucket. prometheus_client offers this for no price we could pay in a hot
        path, so this is the one place that reaches into it.
        """
        child = self.child(metric, *values)
        buckets = [child._count] if metric.kind is Kind.SUMMARY else child._buckets  # noqa: SLF001
        for bucket, count in zip(buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        child._sum.inc(total)  # noqa: SLF001

    def set_total(self, metric: Metric, *values: str, value: float) -> None:
        """Bring a counter to a total that is kept elsewhere; a total that fell has started anew."""
        with self._lock:
            last = self._totals.get((metric, values), 0.0)
            self._totals[metric, values] = value
        self.add(metric, *values, amount=value - last if value >= last else value)

    def start_at_zero(self, *counters: Metric) -> None:
        """Show counters of one closed label now, so that their first event is a rise."""
        for metric in counters:
            values = metric.labels[0].values or () if metric.labels else ()
            for known in ((value,) for value in values) if metric.labels else ((),):
                self.child(metric, *known)

    def forget(self, metric: Metric, *values: str) -> None:
        """Stop exposing the metric's series whose first labels have these values."""
        with self._lock:
            children = self._children[metric]
            for gone in [key for key in children if key[: len(values)] == values]:
                del children[gone]
                self._totals.pop((metric, gone), None)
                if gone:
                    self._exposed[metric].remove(*gone)

    def probe_failed(self, probe: str) -> None:
        """Count a failure of our own, which must not become the request's."""
        self.add(PROBE_FAILURES, probe)

    def before_expose(self, enter: Callable[[], None]) -> None:
        """Have `enter` called before every exposition, to count what it has put off."""
        self._before_expose.append(enter)

    def expose(self, accept: str = "") -> Exposition:
        """Return the exposition in the format that an Accept header asks for.

        OpenMetrics, with exemplars, where the header names it; else Prometheus' text format. Takes
        milliseconds and holds the GIL in slices: call it from a thread, not from an event loop.
        """
        started = self._clock()
        encode, content_type = choose_encoder(accept)
        # Our names need no escaping: the scheme that leaves them alone writes the same, faster.
        write = cast("Callable[..., bytes]", encode)
        body = write(self._as_read, escaping=ALLOWUTF8)
        self.set(EXPOSITION_SECONDS, value=self._clock() - started)
        self.set(EXPOSITION_LINES, value=body.count(b"\n"))
        return Exposition(body, content_type)

    def children(self) -> Iterator[tuple[Metric, tuple[str, ...], Any]]:
        """Yield each series that is exposed: its metric, its label values, and what counts it."""
        for enter in self._before_expose:
            enter()
        for metric, children in list(self._children.items()):
            for values, child in list(children.items()):
                yield metric, values, child

    def serve(self, port: int, host: str = "127.0.0.1") -> Callable[[], None]:
        """Answer scrapes on an own port, for programs without a web server; return a stop."""
        server, thread = start_http_server(port, host, registry=self._as_read)

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

    def _admit(self, metric: Metric, values: tuple[str, ...]) -> Any:
        known = tuple(
            value if label.values is None or value in label.values else OTHER
            for label, value in zip(metric.labels, values, strict=True)
        )
        with self._lock:
            children = self._children[metric]
            others = (OTHER,) * len(known)
            # One place is kept for `other`, until it is there.
            room = metric.series - (not metric.bounded and others not in children)
            folded = known not in children and len(children) >= room
            if folded:
                known = others
            if known not in children:
                exposed = self._exposed.get(metric) or self._register(metric)
                self._exposed[metric] = exposed
                children[known] = exposed.labels(*known) if known else exposed
            child = children[known]
        if folded and metric is not SERIES_FOLDED:
            self.add(SERIES_FOLDED, metric.name)
        return child


def parts(metric: Metric) -> list[tuple[str, str]]:
    """Return what a series is exposed as: suffixes of its name, and the edges of buckets."""
    if metric.kind is Kind.SUMMARY:
        return [("_count", ""), ("_sum", "")]
    if metric.kind is not Kind.HISTOGRAM:
        return [("", "")]
    edges = [repr(float(edge)) if edge < inf else "+Inf" for edge in (*metric.buckets, inf)]
    return [*(("_bucket", edge) for edge in edges), ("_count", ""), ("_sum", "")]


def current(metric: Metric, child: Any) -> list[float]:
    """Return what a series' parts are now; the other place that reaches into prometheus_client."""
    if metric.kind is Kind.HISTOGRAM:
        counts = list(accumulate(bucket.get() for bucket in child._buckets))  # noqa: SLF001
        return [*counts, counts[-1], child._sum.get()]  # noqa: SLF001
    if metric.kind is Kind.SUMMARY:
        return [child._count.get(), child._sum.get()]  # noqa: SLF001
    return [child._value.get()]  # noqa: SLF001


class _AsRead(Collector):
    """The registry as scrapes see it: everything put off is entered first.

    Without the `_created` samples, which double the lines and which nobody draws.
    """

    def __init__(self, registry: CollectorRegistry, before: list[Callable[[], None]]) -> None:
        self._registry = registry
        self._before = before

    def collect(self) -> Iterator[Exposed]:
        for enter in self._before:
            enter()
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
    """Return the samples of a name whose labels include those given."""
    wanted = set(labels.items())
    return (
        (dict(found), value)
        for (sample, found), value in samples.items()
        if sample == name and wanted <= found
    )
