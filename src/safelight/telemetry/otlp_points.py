"""Turn series into OpenTelemetry's metrics. Names, labels and help texts are those of `/metrics`.

OpenTelemetry's SDK has no summaries: one becomes a histogram with one bucket, which has the same
count and sum.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    NumberDataPoint,
    Sum,
)
from opentelemetry.sdk.metrics.export import Metric as Sent

from safelight.metrics.exposition import Family
from safelight.metrics.metric import Family as Part
from safelight.metrics.metric import Kind, Metric
from safelight.metrics.series import COUNTS, VALUE, Labels, Row, exemplars

Key = tuple[str, Labels]  # the full name of a metric, and the labels of a series
Counted = dict[Key, list[float]]  # the sum and the counts of each series that only grows

_UNITS = {  # by the last word of a name: UCUM, as OpenTelemetry asks for
    "seconds": "s",
    "bytes": "By",
    "ratio": "1",
    "celsius": "Cel",
    "watts": "W",
    "joules": "J",
    "hertz": "Hz",
    "percent": "%",
}
_NO_SPAN = 0  # OpenTelemetry's own value of no span; with None it leaves out the trace too
_UNKNOWN = cast("float", None)  # OTLP's least and greatest observation are optional


@dataclass(frozen=True, slots=True)
class Span:
    """The time of the points, in Unix seconds. Exemplars up to `seen` were sent before."""

    begin: float
    end: float
    seen: float = 0.0


@dataclass(slots=True)
class Points:
    """The points of one sending. With `before`, counts are the growth since these."""

    namespace: str
    span: Span
    before: Mapping[Key, Sequence[float]] | None = None
    counted: Counted = field(default_factory=dict)

    def metrics(self, rows: Iterable[Row]) -> list[Sent]:
        """Return these series as metrics, and keep in `counted` what they have counted."""
        found: dict[str, tuple[Metric, list[tuple[Labels, list[float]]]]] = {}
        for metric, labels, row in rows:
            name = metric.full_name(self.namespace)
            found.setdefault(name, (metric, []))[1].append((labels, row))
        return [
            Sent(name, metric.help, unit_of(name), self._data(name, metric, series))
            for name, (metric, series) in found.items()
        ]

    def _data(
        self, name: str, metric: Metric, series: Iterable[tuple[Labels, list[float]]]
    ) -> Gauge | Sum | Histogram:
        if metric.kind is Kind.GAUGE:
            values = ((labels, row, row[VALUE]) for labels, row in series)
            return Gauge([self._number(metric, *each) for each in values])
        grown = [(labels, row, self._growth((name, labels), metric, row)) for labels, row in series]
        if metric.kind is Kind.COUNTER:
            sums = [self._number(metric, labels, row, own[0]) for labels, row, own in grown]
            return Sum(sums, self._temporality, is_monotonic=True)
        return Histogram([self._buckets(metric, *each) for each in grown], self._temporality)

    @property
    def _temporality(self) -> AggregationTemporality:
        kinds = AggregationTemporality
        return kinds.CUMULATIVE if self.before is None else kinds.DELTA

    def _growth(self, key: Key, metric: Metric, row: Sequence[float]) -> list[float]:
        """Return the sum and the counts, or how much they have grown."""
        is_counter = metric.kind is Kind.COUNTER
        end = COUNTS if is_counter else COUNTS + len(metric.buckets) + 1
        own = self.counted[key] = list(row[VALUE:end])
        before = None if self.before is None else self.before.get(key)
        if before is None or len(before) != len(own):
            return own
        growth = [now - then for now, then in zip(own, before, strict=True)]
        fell = min(growth if is_counter else growth[1:]) < 0  # a sum can fall, counts cannot
        return own if fell else growth  # it was forgotten, and began again at 0

    def _number(
        self, metric: Metric, labels: Labels, row: Sequence[float], value: float
    ) -> NumberDataPoint:
        return NumberDataPoint(
            dict(zip(metric.label_names, labels, strict=True)),
            _nanoseconds(self.span.begin),
            _nanoseconds(self.span.end),
            float(value),  # a row can have whole numbers, which OTLP writes as another type
            list(self._exemplars(metric, row)),
        )

    def _buckets(
        self, metric: Metric, labels: Labels, row: Sequence[float], own: Sequence[float]
    ) -> HistogramDataPoint:
        counts = [round(count) for count in own[1:]]
        return HistogramDataPoint(
            dict(zip(metric.label_names, labels, strict=True)),
            _nanoseconds(self.span.begin),
            _nanoseconds(self.span.end),
            sum(counts),
            own[0],
            counts,
            metric.buckets,
            _UNKNOWN,
            _UNKNOWN,
            list(self._exemplars(metric, row)),
        )

    def _exemplars(self, metric: Metric, row: Sequence[float]) -> Iterator[Exemplar]:
        for seen in exemplars(metric, row):
            if seen is not None and self.span.seen < seen.timestamp:
                others = {name: text for name, text in seen.labels.items() if name != "trace_id"}
                trace, at = seen.labels.get("trace_id"), _nanoseconds(seen.timestamp)
                ids = (_NO_SPAN, int(trace, 16)) if trace else (None, None)
                yield Exemplar(others, seen.value, at, *ids)


def rows_of(process: Iterable[Family]) -> Iterator[Row]:
    """Yield the metrics of the process, which are not in the catalogue, in the form of rows."""
    for family in process:
        for sample in family.samples:
            metric = Metric(sample.name, family.documentation, Kind(family.type), Part.SAFELIGHT)
            yield metric, (), [1.0, sample.value]


def unit_of(name: str) -> str:
    """Return a metric's unit in UCUM, by the last word of its name; empty if it has none."""
    return _UNITS.get(name.removesuffix("_total").rpartition("_")[2], "")


def _nanoseconds(at: float) -> int:
    return round(at * 1e9)
