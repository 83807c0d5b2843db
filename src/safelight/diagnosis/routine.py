"""The weekly check of `safelight trends`: what changed, and which alert limits do not fit.

Proposed limits are computed from the service's own data.
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
_NOTABLE = 0.25  # change of a value
_OFTEN = 0.5  # of the time
_MARGIN = 1.2  # a proposed limit, over the usual value
_MIN_SLOTS = 288  # of 5 min: one day


@dataclass(frozen=True, slots=True)
class Change:
    """A value of this week and of last week, None if a week has no data."""

    what: str
    unit: str
    this_week: float | None
    last_week: float | None

    @property
    def factor(self) -> float | None:
        """Return this week's value over last week's, or None if either is unknown."""
        if self.this_week is None or not self.last_week:
            return None
        return self.this_week / self.last_week

    @property
    def notable(self) -> bool:
        """Return True if the value changed by a quarter or more."""
        factor = self.factor
        return factor is not None and abs(factor - 1) >= _NOTABLE


@dataclass(frozen=True, slots=True)
class Firing:
    """An alert that fired for at least half of the week. People ignore such alerts."""

    alert: str
    share: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """A better limit: in 95 % of the hours the value is below `usual`."""

    threshold: str
    limit: float
    usual: float
    proposed: float

    @property
    def problem(self) -> str:
        """Return why the limit does not fit."""
        return "always exceeded" if self.usual > self.limit else "out of reach"


@dataclass(frozen=True, slots=True)
class Trends:
    """Result of a routine check of one service, and the age of its oldest data."""

    service: Service
    data_seconds: float
    changes: Sequence[Change]
    firing: Sequence[Firing]
    proposals: Sequence[Proposal]
    missing: Sequence[str]

    @property
    def comparable(self) -> bool:
        """Return True if there is data of last week."""
        return self.data_seconds > _WEEK

    @property
    def judged(self) -> bool:
        """Return True if there is a day of data. Otherwise limits and series are not judged."""
        return self.data_seconds >= _DAY


def trends(prometheus: Prometheus, service: Service, at: float, limits: Thresholds) -> Trends:
    """Run the routine check of a service. Raises MonitoringFailed."""
    return Trends(
        service,
        _data_seconds(prometheus, service, at),
        _changes(prometheus, service, at),
        _firing(prometheus, service, at),
        _proposals(prometheus, service, at, limits),
        _missing(prometheus, service, at),
    )


def _data_seconds(prometheus: Prometheus, service: Service, at: float) -> float:
    """Return the age of the oldest data, at most two weeks, in seconds."""
    queries = Queries(service.namespace, matchers={JOB: service.job})
    scraped = f"max(timestamp({queries.select(c.GUIDANCE_OVERRIDDEN)}))"
    # A service younger than the long step can lie between two of its points.
    first = f"min_over_time(({scraped})[14d:5m]) or min_over_time(({scraped})[5m:5s])"
    series = prometheus.instant(first, at)
    return max(0.0, at - series[0].value) if series else 0.0


def _changes(prometheus: Prometheus, service: Service, at: float) -> list[Change]:
    queries = Queries(service.namespace, window="1h", matchers={JOB: service.job})
    rows = (
        ("requests per second", "", queries.rate(c.REQUESTS)),
        ("success", "ratio", queries.success_ratio(c.SUCCESSES, c.REQUESTS)),
        ("P95 of a request", "seconds", queries.quantile(0.95, c.REQUEST_SECONDS)),
        ("mean queue time", "seconds", queries.mean(c.QUEUED_SECONDS)),
        ("mean step", "seconds", queries.mean(c.STEP_SECONDS)),
        ("mean batch", "", queries.mean(c.BATCH_SIZE)),
        ("memory allocated", "bytes", f"max({queries.select(c.VRAM_USED)})"),
        ("invalid images per second", "", queries.rate(c.OUTPUT_INVALID)),
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
    """Return the median of an expression over the hours of the week that ends at a time."""
    series = prometheus.instant(f"quantile_over_time(0.5, ({expression})[7d:1h])", at)
    return series[0].value if series else None


def _firing(prometheus: Prometheus, service: Service, at: float) -> list[Firing]:
    queries = Queries(service.namespace, matchers={JOB: service.job})
    where = queries.recorded("ALERTS", {"alertstate": "firing"})
    fired = f"count_over_time((max by (alertname) ({where}))[7d:5m])"
    counts = {
        series.labels.get("alertname", ""): series.value for series in prometheus.instant(fired, at)
    }
    scrapes = prometheus.instant(f"max(count_over_time(({queries.foreign('up')})[7d:5m]))", at)
    slots = scrapes[0].value if scrapes else 0.0
    if slots < _MIN_SLOTS:
        return []
    firing = []
    for alert in alerts(service.namespace):
        part = min(1.0, counts.get(alert.name, 0.0) / slots)
        if part >= _OFTEN:
            firing.append(Firing(alert.name, part))
    return sorted(firing, key=lambda each: -each.share)


# Thresholds of a P95, and the histograms of these.
_LIMITS = (("request_p95_seconds", c.REQUEST_SECONDS), ("step_p95_seconds", c.STEP_SECONDS))


def _proposals(
    prometheus: Prometheus, service: Service, at: float, limits: Thresholds
) -> list[Proposal]:
    """Return better limits for those that are always exceeded or far out of reach."""
    queries = Queries(service.namespace, window="1h", matchers={JOB: service.job})
    proposals = []
    for name, metric in _LIMITS:
        expression = queries.quantile(0.95, metric)
        series = prometheus.instant(f"quantile_over_time(0.95, ({expression})[7d:1h])", at)
        if not series or series[0].value <= 0:
            continue
        usual, limit = series[0].value, float(getattr(limits, name))
        edge = metric.edge(_MARGIN * usual)
        if usual > limit or edge * 2 < limit:
            proposals.append(Proposal(name, limit, usual, edge))
    return proposals


def _missing(prometheus: Prometheus, service: Service, at: float) -> list[str]:
    """Return the names of series that existed a day ago or earlier and do not exist now."""
    match = Queries(service.namespace, matchers={JOB: service.job}).recorded("")
    now = {row["__name__"] for row in prometheus.series(match, at - 3600, at)}
    then = {row["__name__"] for row in prometheus.series(match, at - _WEEK, at - _DAY)}
    return sorted(name for name in then - now if ":" not in name and name != "ALERTS")
