"""Routine checks: this week against the last, limits that never or always fire, what is missing.

Limits proposed for an alert come from the service's own data, not from anybody's guess.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from safelight.diagnosis.evidence import Service
from safelight.diagnosis.prometheus import Prometheus
from safelight.metrics import catalog as c
from safelight.metrics.promql import JOB, Queries
from safelight.rules.alerts import alerts
from safelight.rules.thresholds import Thresholds

_DAY = 86_400
_WEEK = 7 * _DAY
_MOVED = 0.25
_OFTEN = 0.5  # of the time
_MARGIN = 1.2  # a proposed limit lies so far above what is usual


@dataclass(frozen=True, slots=True)
class Change:
    """A figure of this week beside the last week's; None where a week has no data."""

    what: str
    unit: str
    this_week: float | None
    last_week: float | None

    @property
    def factor(self) -> float | None:
        """Return this week's over the last's, where both are known."""
        if self.this_week is None or not self.last_week:
            return None
        return self.this_week / self.last_week

    @property
    def notable(self) -> bool:
        """Tell whether it moved by a quarter or more."""
        factor = self.factor
        return factor is not None and abs(factor - 1) >= _MOVED


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fired for half of the week or more: nobody heeds it."""

    alert: str
    share: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """A better limit by the data: nineteen of twenty hours stay below what is `usual`."""

    threshold: str
    limit: float
    usual: float
    proposed: float

    @property
    def why(self) -> str:
        """Return what is wrong with the limit."""
        return "always passed" if self.usual > self.limit else "out of reach"


@dataclass(frozen=True, slots=True)
class Trends:
    """What a routine check finds of one service, and how far back its data goes at most."""

    service: Service
    data_seconds: float
    changes: Sequence[Change]
    firing: Sequence[Firing]
    proposals: Sequence[Proposal]
    missing: Sequence[str]

    @property
    def comparable(self) -> bool:
        """Tell whether there is a last week to compare with."""
        return self.data_seconds > _WEEK

    @property
    def judged(self) -> bool:
        """Tell whether there is a day of data: before, limits and series are not judged."""
        return self.data_seconds >= _DAY


def trends(prometheus: Prometheus, service: Service, at: float, limits: Thresholds) -> Trends:
    """Return the routine check of a service. Raises MonitoringFailed."""
    return Trends(
        service,
        _data_seconds(prometheus, service, at),
        _changes(prometheus, service, at),
        _firing(prometheus, service, at),
        _proposals(prometheus, service, at, limits),
        _missing(prometheus, service, at),
    )


def _data_seconds(prometheus: Prometheus, service: Service, at: float) -> float:
    """Return how long ago the service was first seen, two weeks at most."""
    queries = Queries(service.namespace, matchers={JOB: service.job})
    seen = f"max(timestamp({queries.select(c.GUIDANCE_OVERRIDDEN)}))"
    # What is younger than the long step lies between two of them, perhaps.
    asked = f"min_over_time(({seen})[14d:5m]) or min_over_time(({seen})[5m:5s])"
    found = prometheus.instant(asked, at)
    return max(0.0, at - found[0].value) if found else 0.0


def _changes(prometheus: Prometheus, service: Service, at: float) -> list[Change]:
    queries = Queries(service.namespace, window="1h", matchers={JOB: service.job})
    rows = (
        ("requests a second", "", queries.rate(c.REQUESTS)),
        ("success", "ratio", queries.success_ratio(c.SUCCESSES, c.REQUESTS)),
        ("P95 of a request", "seconds", queries.quantile(0.95, c.REQUEST_SECONDS)),
        ("mean wait", "seconds", queries.mean(c.QUEUED_SECONDS)),
        ("mean step", "seconds", queries.mean(c.STEP_SECONDS)),
        ("mean batch", "", queries.mean(c.BATCH_SIZE)),
        ("memory allocated", "bytes", f"max({queries.select(c.VRAM_USED)})"),
        ("broken pictures a second", "", queries.rate(c.OUTPUT_INVALID)),
    )
    return [
        Change(
            name,
            unit,
            _median(prometheus, expression, at),
            _median(prometheus, expression, at - _WEEK),
        )
        for name, unit, expression in rows
    ]


def _median(prometheus: Prometheus, expression: str, at: float) -> float | None:
    """Return an expression's median over the hours of the week that ends at a time."""
    found = prometheus.instant(f"quantile_over_time(0.5, ({expression})[7d:1h])", at)
    return found[0].value if found else None


def _firing(prometheus: Prometheus, service: Service, at: float) -> list[Firing]:
    queries = Queries(service.namespace, matchers={JOB: service.job})
    where = queries.recorded("ALERTS", {"alertstate": "firing"})
    counted = f"count_over_time((max by (alertname) ({where}))[7d:5m])"
    found = {
        series.labels.get("alertname", ""): series.value
        for series in prometheus.instant(counted, at)
    }
    judged = prometheus.instant(f"max(count_over_time(({queries.foreign('up')})[7d:5m]))", at)
    slots = judged[0].value if judged else 0.0
    if slots < 288:
        return []
    told = []
    for alert in alerts(service.namespace):
        part = min(1.0, found.get(alert.name, 0.0) / slots)
        if part >= _OFTEN:
            told.append(Firing(alert.name, part))
    return sorted(told, key=lambda each: -each.share)


# Thresholds that the data can speak of, and the histogram whose P95 they are held to.
_LIMITS = (("request_p95_seconds", c.REQUEST_SECONDS), ("step_p95_seconds", c.STEP_SECONDS))


def _proposals(
    prometheus: Prometheus, service: Service, at: float, limits: Thresholds
) -> list[Proposal]:
    """Return limits that lie far from what the service does: out of reach, or always passed."""
    queries = Queries(service.namespace, window="1h", matchers={JOB: service.job})
    made = []
    for name, metric in _LIMITS:
        expression = queries.quantile(0.95, metric)
        found = prometheus.instant(f"quantile_over_time(0.95, ({expression})[7d:1h])", at)
        if not found or found[0].value <= 0:
            continue
        usual, limit = found[0].value, float(getattr(limits, name))
        edge = metric.edge(_MARGIN * usual)
        if usual > limit or edge * 2 < limit:
            made.append(Proposal(name, limit, usual, edge))
    return made


def _missing(prometheus: Prometheus, service: Service, at: float) -> list[str]:
    """Return the names that were shown a day or more ago, and are not any more."""
    match = Queries(service.namespace, matchers={JOB: service.job}).recorded("")
    now = {row["__name__"] for row in prometheus.shown(match, at - 3600, at)}
    then = {row["__name__"] for row in prometheus.shown(match, at - _WEEK, at - _DAY)}
    return sorted(name for name in then - now if ":" not in name and name != "ALERTS")
