"""All series of one meter, by metric and labels; excess series become `other`."""

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from safelight.metrics.catalog import CATALOG
from safelight.metrics.metric import OTHER, Across, Kind, Metric
from safelight.metrics.series import USED, VALUE, Cells, Labels, Row, Series, admitted

Clock = Callable[[], float]
_OWN = (Across.SUM, Across.RECENT)  # what a forked process must not show again


class Places(Protocol):
    """A file of rows, in the order that several processes agreed on."""

    def known(self, metric: Metric) -> Collection[Labels]:
        """Return the labels of the metric's series, of all processes."""

    def row(self, metric: Metric, labels: Labels) -> Cells | None:
        """Return the row of a series of this process; None if there is no room."""


class Table:
    """The series of one meter. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.Lock()  # of all values
        self._clock = clock
        self._admission = threading.Lock()  # taken before `lock`
        self._places: Places | None = None
        self._totals: dict[tuple[Metric, Labels], float] = {}
        # Created here: at first use, two threads could each create one.
        self.series: dict[Metric, dict[Labels, Series]] = defaultdict(
            dict, {metric: {} for metric in CATALOG}
        )

    def admit(self, metric: Metric, values: Labels) -> tuple[Series, bool]:
        """Return the series that counts these values, and True if they were folded into `other`."""
        labels = tuple(
            value if label.values is None or value in label.values else OTHER
            for label, value in zip(metric.labels, values, strict=True)
        )
        with self._admission:
            series = self.series[metric]
            known = self._places.known(metric) if self._places else series
            folded = not admitted(metric, known, labels)
            if folded:
                labels = (OTHER,) * len(labels)
            if labels not in series:
                series[labels] = self._create(metric, labels)
            return series[labels], folded

    def forget(self, metric: Metric, first: Labels) -> None:
        """Remove the series whose first labels are these."""
        with self._admission, self.lock:
            series = self.series[metric]
            forgotten = [labels for labels in series if labels[: len(first)] == first]
            for labels in forgotten:
                series.pop(labels).clear()
                self._totals.pop((metric, labels), None)

    def advance(self, metric: Metric, labels: Labels, total: float) -> float:
        """Return by how much an external total has grown. If it fell, it restarted from 0."""
        with self.lock:
            last = self._totals.get((metric, labels), 0.0)
            self._totals[metric, labels] = total
        return total - last if total >= last else total

    def items(self) -> Iterator[tuple[Metric, Labels, Series]]:
        """Yield every series."""
        for metric, series in list(self.series.items()):
            for labels, each in list(series.items()):
                yield metric, labels, each

    def rows(self) -> list[Row]:
        """Return the values of every series."""
        with self.lock:
            return [(metric, labels, list(each.cells)) for metric, labels, each in self.items()]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep all other threads out, for a fork."""
        with self._admission, self.lock:
            yield

    def share(self, places: Places) -> None:
        """Count into the rows of a file from now on, and add to them what was counted."""
        with self._admission, self.lock:
            self._places = places
            for metric, labels, series in self.items():
                row = _row(places, metric, labels)
                if row is not None:
                    series.move(row)

    def unshare(self, *, empty: bool = False) -> None:
        """Count into lists again: what was counted so far, or from 0 if `empty`.

        A gauge keeps its value, except for one that is summed over the processes.
        """
        with self._admission, self.lock:
            self._places = None
            if empty:
                self._totals.clear()
            for metric, _, series in self.items():
                cells = list(series.cells)
                if empty and (metric.kind is not Kind.GAUGE or metric.across in _OWN):
                    cells[VALUE:] = [0.0] * (len(cells) - VALUE)
                series.cells = cells

    def _create(self, metric: Metric, labels: Labels) -> Series:
        series = Series(metric, self.lock, self._clock)
        row = _row(self._places, metric, labels) if self._places else None
        if row is not None:
            with self.lock:
                row[USED] = row[USED] or 1.0
                series.cells = row
        return series


def _row(places: Places, metric: Metric, labels: Labels) -> Cells | None:
    row = places.row(metric, labels)
    return places.row(metric, (OTHER,) * len(labels)) if row is None else row
