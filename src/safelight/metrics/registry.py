"""Metrics of one service: count them, and write the exposition for Prometheus.

Each Meter has its own series, so one process can have several. It never exposes more series than
the catalogue allows: excess series become `other`.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from math import nan
from time import perf_counter, time

from safelight.metrics.catalog import (
    EXPOSITION_LINES,
    EXPOSITION_SECONDS,
    PROBE_FAILURES,
    SERIES_FOLDED,
)
from safelight.metrics.exposition import (
    Exposition,
    Family,
    Samples,
    Scrape,
    families,
    of_process,
    of_processes,
    parse,
    where,
)
from safelight.metrics.metric import Metric
from safelight.metrics.processes.membership import Membership
from safelight.metrics.series import Exemplar, Labels, Row, Series, parts, recent, values
from safelight.metrics.table import Table
from safelight.namespace import checked

__all__ = ["Exemplar", "Exposition", "Meter", "Samples", "current", "parse", "parts", "where"]


class Meter:
    """Metrics of the catalogue for one namespace. Thread-safe.

    A metric is exposed after its first use: a metric that was never measured is absent, not 0.
    If this process is a worker of a server, the exposition has the counts of all its workers.
    Raises ValueError if the namespace is malformed or reserved.
    """

    def __init__(
        self,
        namespace: str,
        *,
        clock: Callable[[], float] = perf_counter,
        wall_clock: Callable[[], float] = time,
    ) -> None:
        self.namespace = checked(namespace)
        self._clock = clock
        self._wall_clock = wall_clock
        self._table = Table(wall_clock)
        self._series = self._table.series  # here too: one look-up less in a hot path
        self.lock = self._table.lock  # for who changes the cells of a series itself
        self.membership = Membership(self._table, namespace)
        self._before_expose: list[Callable[[], None]] = []
        self._scrape = Scrape(self._families)
        self.start_at_zero(PROBE_FAILURES)

    def child(self, metric: Metric, *values: str) -> Series:
        """Return the series with these label values, in the order of the metric's labels.

        Unknown values of closed labels, and series beyond the metric's maximum, become `other`.
        """
        series = self._series[metric].get(values)
        if series is not None:
            return series
        series, folded = self._table.admit(metric, values)
        if folded and metric is not SERIES_FOLDED:
            self.add(SERIES_FOLDED, metric.name)
        return series

    def has(self, metric: Metric, *values: str) -> bool:
        """Return True if these label values have a series of their own, which is not `other`."""
        return values in self._series[metric]

    def add(self, metric: Metric, *values: str, amount: float = 1) -> None:
        """Add to a counter or gauge."""
        self.child(metric, *values).inc(amount)

    def set(self, metric: Metric, *values: str, value: float) -> None:
        """Set a gauge."""
        self.child(metric, *values).set(value)

    def peak(self, metric: Metric, *values: str, value: float) -> None:
        """Note a value (0 or more) of a gauge that shows the recent maximum."""
        self.child(metric, *values).peak(value)

    def observe(
        self, metric: Metric, *values: str, value: float, exemplar: Exemplar | None = None
    ) -> None:
        """Add an observation. The exemplar links its bucket to a trace."""
        self.child(metric, *values).observe(value, exemplar)

    def set_total(self, metric: Metric, *values: str, value: float) -> None:
        """Advance a counter to an external total. If the total fell, it restarted from 0."""
        self.add(metric, *values, amount=self._table.advance(metric, values, value))

    def start_at_zero(self, *counters: Metric) -> None:
        """Expose counters with closed labels at 0, so that `increase` sees their first event."""
        for metric in counters:
            for labels in product(*(label.values or () for label in metric.labels)):
                self.child(metric, *labels)

    def forget(self, metric: Metric, *values: str) -> None:
        """Remove the metric's series whose first labels have these values."""
        self._table.forget(metric, values)

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
        exposition = self._scrape.write(accept)
        self.set(EXPOSITION_SECONDS, value=self._clock() - started)
        self.set(EXPOSITION_LINES, value=exposition.body.count(b"\n"))
        return exposition

    def children(self) -> Iterator[tuple[Metric, Labels, Series]]:
        """Yield each series of this process: its metric, its label values and itself."""
        self._refresh()
        return self._table.items()

    def serve(self, port: int, host: str = "127.0.0.1") -> Callable[[], None]:
        """Serve /metrics on a port of its own, in a thread. Returns the function that stops it.

        All workers of a server can use the same port: whichever answers, it answers for all.
        """
        return self._scrape.serve(port, host, shared=self.membership.is_worker)

    def _refresh(self) -> None:
        for callback in list(self._before_expose):
            callback()
        for _, _, series in self._table.items():
            series.refresh()

    def read(self) -> tuple[list[Family], list[Row]]:
        """Return what is exposed: the families of the process, and the rows of the catalogue.

        If this process is a worker of a server, they are those of all its workers.
        """
        self._refresh()
        together = self.membership.read()
        if together is None:
            return of_process(), [*self._recent(self._table.rows())]
        return of_processes(together), [*self._recent(together.rows)]

    def _families(self) -> list[Family]:
        process, rows = self.read()
        return [*process, *families(rows, self.namespace)]

    def _recent(self, rows: Iterable[Row]) -> Iterator[Row]:
        now = self._wall_clock()
        for metric, labels, row in rows:
            shown = recent(metric, row, now)
            if shown is not None:
                yield metric, labels, shown


def current(metric: Metric, series: Series) -> list[float]:
    """Return the values of a series' samples, in the order of `parts`."""
    with series.lock:
        row = list(series.cells)
    return values(metric, recent(metric, row, series.clock()) or [nan] * len(row))
