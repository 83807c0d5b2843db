"""What a metric is made of. Data only: nothing here counts anything."""

from dataclasses import dataclass
from enum import StrEnum
from math import prod

OTHER = "other"

# The last word of a name, and the unit that Grafana draws it in.
UNITS = {
    "seconds": "s",
    "bytes": "bytes",
    "ratio": "percentunit",
    "celsius": "celsius",
    "watts": "watt",
    "joules": "joule",
    "hertz": "hertz",
    "percent": "percent",
}


class Kind(StrEnum):
    """How a metric counts."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


class Family(StrEnum):
    """Which part of the picture a metric belongs to."""

    REQUEST = "request"
    MODEL = "model"
    QUEUE = "queue and batch"
    GOVERNANCE = "governance"
    QUALITY = "quality"
    HTTP = "http"
    GPU = "gpu"
    HOST = "host"
    SAFELIGHT = "safelight"


NAMESPACED = frozenset(
    {Family.REQUEST, Family.MODEL, Family.QUEUE, Family.GOVERNANCE, Family.QUALITY}
)


# Compared and hashed by identity: there is one object for each, and the hot path looks them up.
@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """One dimension of a metric.

    `values` lists all it can be. Where it is None the values are learnt while running (a route, a
    card) and the registry folds what is too many into `other`.
    """

    name: str
    help: str
    values: tuple[str, ...] | None = None

    @property
    def closed(self) -> bool:
        """Tell whether all values are known before anything runs."""
        return self.values is not None


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One fact that can be counted; `series` is the most label combinations it may ever show."""

    name: str
    help: str
    kind: Kind
    family: Family
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    series: int = 1

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the labels' names, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def bounded(self) -> bool:
        """Tell whether the labels' closed values alone keep the series within their number."""
        return (
            prod(len(label.values or ()) or self.series + 1 for label in self.labels) <= self.series
        )

    @property
    def unit(self) -> str:
        """Return Grafana's unit for the metric: the last word of its name, else a plain count."""
        return UNITS.get(self.name.removesuffix("_total").rpartition("_")[2], "short")

    @property
    def lines(self) -> int:
        """Return the most lines that the metric can add to an exposition in text format."""
        per_series = {Kind.HISTOGRAM: len(self.buckets) + 3, Kind.SUMMARY: 2}.get(self.kind, 1)
        # A stranger to labels that do not list `other` becomes it all the same.
        stranger = self.bounded and any(OTHER not in (label.values or ()) for label in self.labels)
        return 2 + (self.series + stranger) * per_series

    def edge(self, value: float) -> float:
        """Return the least edge of the buckets that is not below a value, or the last of all."""
        return next((edge for edge in self.buckets if edge >= value), self.buckets[-1])

    def full_name(self, namespace: str) -> str:
        """Return the name as exposed by a service of that namespace."""
        return f"{namespace}_{self.name}" if self.family in NAMESPACED else self.name
