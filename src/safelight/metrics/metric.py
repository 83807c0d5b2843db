"""Data types of the catalogue: metrics, labels, kinds and families."""

from dataclasses import dataclass
from enum import StrEnum
from math import prod

OTHER = "other"

# Last word of a metric's name, and its unit in Grafana.
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
    """Type of a metric in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


class Across(StrEnum):
    """How the values of a service's processes become one value."""

    SUM = "sum"
    MAX = "max"  # a total of the machine, which every process reads
    LAST = "last"  # the value that was set last
    RECENT = "recent"  # the maximum of the last one to two minutes; absent if there is none


def of_machine(kind: Kind) -> Across:
    """Return the rule of what every process reads from the same machine."""
    return Across.MAX if kind is Kind.COUNTER else Across.LAST


class Family(StrEnum):
    """Part of the system that a metric belongs to."""

    REQUEST = "request"
    MODEL = "model"
    QUEUE = "queue and batch"
    GOVERNANCE = "governance"
    QUALITY = "quality"
    CALLS = "model calls"
    HTTP = "http"
    GPU = "gpu"
    HOST = "host"
    SAFELIGHT = "safelight"


NAMESPACED = frozenset(
    {Family.REQUEST, Family.MODEL, Family.QUEUE, Family.GOVERNANCE, Family.QUALITY}
)


# Compared and hashed by identity, because the hot path looks them up.
@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """A label of a metric.

    `values` lists all values of a closed label. If it is None, the label is open: its values are
    only known at run time (a route, a GPU), and the registry counts excess ones as `other`.
    """

    name: str
    help: str
    values: tuple[str, ...] | None = None

    @property
    def closed(self) -> bool:
        """Return True if the catalogue lists all values."""
        return self.values is not None


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """A metric. `series` is the maximum number of its label combinations.

    `across` says how the values of several processes on one port become one.
    """

    name: str
    help: str
    kind: Kind
    family: Family
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    series: int = 1
    across: Across = Across.SUM

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the labels' names, in order."""
        return tuple(label.name for label in self.labels)

    @property
    def ends(self) -> bool:
        """Return True if the value of a process ends with the process."""
        return self.kind is Kind.GAUGE and self.across is not Across.RECENT

    @property
    def bounded(self) -> bool:
        """Return True if the closed labels alone keep the number of series within the maximum."""
        return (
            prod(len(label.values or ()) or self.series + 1 for label in self.labels) <= self.series
        )

    @property
    def unit(self) -> str:
        """Return the metric's unit in Grafana, by the last word of its name."""
        return UNITS.get(self.name.removesuffix("_total").rpartition("_")[2], "short")

    @property
    def lines(self) -> int:
        """Return the maximum number of lines of the metric in the text format."""
        per_series = {Kind.HISTOGRAM: len(self.buckets) + 3, Kind.SUMMARY: 2}.get(self.kind, 1)
        # Unknown values of a closed label become `other`, even if the label does not list it.
        unlisted = self.bounded and any(OTHER not in (label.values or ()) for label in self.labels)
        return 2 + (self.series + (unlisted or self.reserves_extra)) * per_series

    @property
    def reserves_extra(self) -> bool:
        """Return True if `other` is an extra series, because one series is the maximum.

        Otherwise the only series of an open label would be `other`.
        """
        return not self.bounded and self.series == 1

    def edge(self, value: float) -> float:
        """Return the smallest bucket edge that is at least this value, or the last edge."""
        return next((edge for edge in self.buckets if edge >= value), self.buckets[-1])

    def full_name(self, namespace: str) -> str:
        """Return the exposed name for a service with this namespace."""
        return f"{namespace}_{self.name}" if self.family in NAMESPACED else self.name
