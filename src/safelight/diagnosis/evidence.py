"""Evidence of a diagnosis: read from Prometheus once, in five requests, or six with alerts."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby

from safelight.diagnosis.active import ActiveAlert, read_alerts
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.diagnosis.queries import FACT, FactQueries, Statistic, Window, key
from safelight.errors import MonitoringFailed
from safelight.metrics.catalog import REQUEST_SECONDS, SERVICE_INFO
from safelight.metrics.metric import Label, Metric
from safelight.metrics.promql import Queries
from safelight.rules.thresholds import Thresholds, default_limits

_EXPOSED = SERVICE_INFO.name
_PREFIX = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")  # what a metric's name may begin with
_DAY = 86_400
_PARALLEL_REQUESTS = 4  # Prometheus evaluates each on one core
_MOST_NAMES = 20
Row = tuple[Mapping[str, str], float]
Where = Mapping[Label, str]


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """One service: the namespace of its metrics and its scrape job."""

    namespace: str
    job: str


@dataclass(frozen=True, slots=True)
class Spans:
    """Lengths, in seconds, of the time ranges that a diagnosis compares.

    `before_seconds` is the time right before the window, and the same time of day yesterday.
    `history_seconds` is the length of the curves.
    """

    window_seconds: int = 300
    before_seconds: int = 3600
    history_seconds: int = 4 * 3600
    step_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Reading:
    """Facts of one time range: rates per second of counters and histograms, means of gauges."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)

    def select(
        self,
        name: Metric | str,
        statistic: Statistic = Statistic.VALUE,
        window: Window = Window.WHOLE,
        where: Where | None = None,
    ) -> list[Row]:
        """Return the rows of a fact that have these labels."""
        labels = _names(where)
        rows = self.rows.get(key(name, statistic, window), ())
        return [row for row in rows if labels <= row[0].items()]

    def sum(
        self,
        name: Metric | str,
        statistic: Statistic = Statistic.VALUE,
        window: Window = Window.WHOLE,
        where: Where | None = None,
    ) -> float | None:
        """Return the sum of a fact's rows, or None if there are no rows."""
        rows = self.select(name, statistic, window, where)
        return sum(value for _, value in rows) if rows else None

    def rate(
        self,
        name: Metric | str,
        statistic: Statistic = Statistic.VALUE,
        window: Window = Window.WHOLE,
        where: Where | None = None,
    ) -> float:
        """Return events per second, 0 if there are no rows."""
        return self.sum(name, statistic, window, where) or 0.0

    def sums_by(
        self,
        label: Label,
        name: Metric | str,
        statistic: Statistic = Statistic.VALUE,
        window: Window = Window.WHOLE,
        where: Where | None = None,
    ) -> dict[str, float]:
        """Return the sums of a fact by the values of one label."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self.select(name, statistic, window, where):
            sums[labels.get(label.name, "")] += value
        return dict(sums)

    def mean(
        self, histogram: Metric, window: Window = Window.WHOLE, where: Where | None = None
    ) -> float | None:
        """Return the mean of a histogram's observations, or None if there are none."""
        total = self.rate(histogram, Statistic.SUM, window, where)
        count = self.rate(histogram, Statistic.COUNT, window, where)
        return total / count if count > 0 else None

    def means_by(
        self, label: Label, histogram: Metric, window: Window = Window.WHOLE
    ) -> dict[str, float]:
        """Return the means of a histogram's observations by the values of one label."""
        sums = self.sums_by(label, histogram, Statistic.SUM, window)
        counts = self.sums_by(label, histogram, Statistic.COUNT, window)
        return {name: sums.get(name, 0.0) / n for name, n in counts.items() if n > 0}

    def level(
        self,
        gauge: Metric | str,
        statistic: Statistic = Statistic.VALUE,
        window: Window = Window.WHOLE,
        where: Where | None = None,
    ) -> float | None:
        """Return the mean over a gauge's series, or None if there are none."""
        rows = self.select(gauge, statistic, window, where)
        return sum(value for _, value in rows) / len(rows) if rows else None

    def maximum(
        self,
        gauge: Metric | str,
        statistic: Statistic = Statistic.VALUE,
        window: Window = Window.WHOLE,
        where: Where | None = None,
    ) -> float | None:
        """Return the largest value of a gauge's series, or None if there are none."""
        rows = self.select(gauge, statistic, window, where)
        return max((value for _, value in rows), default=None)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All data that the checks read, and the limits of the service's alerts."""

    service: Service
    at: float
    spans: Spans
    now: Reading
    before: Reading = field(default_factory=Reading)
    yesterday: Reading = field(default_factory=Reading)
    curves: Mapping[str, Sequence[Series]] = field(default_factory=dict)
    limits: Thresholds = field(default_factory=Thresholds)
    alerts: Sequence[ActiveAlert] = ()

    @property
    def queries(self) -> Queries:
        """Return the expressions for this service, to link from findings."""
        return FactQueries(self.service.namespace, self.service.job).queries

    @property
    def requests(self) -> float:
        """Return the number of requests that ended within the window."""
        return self.now.rate(REQUEST_SECONDS, Statistic.COUNT) * self.spans.window_seconds

    def curve(
        self, name: Metric | str, statistic: Statistic = Statistic.VALUE, where: Where | None = None
    ) -> list[Series]:
        """Return the curves of a fact that have these labels."""
        labels = _names(where)
        curves = self.curves.get(key(name, statistic), ())
        return [series for series in curves if labels <= series.labels.items()]


def labels_of(labels: Mapping[str, str], *names: Label) -> dict[Label, str]:
    """Return those of a series' labels that it has, to select other facts of the same object."""
    return {label: labels[label.name] for label in names if label.name in labels}


def services(prometheus: Prometheus, at: float, spans: Spans | None = None) -> list[Service]:
    """Return the services with recent Safelight metrics. Raises MonitoringFailed."""
    begin = at - (spans or Spans()).history_seconds
    named = ((_namespace(row), row.get("job")) for row in prometheus.series(_EXPOSED, begin, at))
    return sorted({Service(namespace, job) for namespace, job in named if namespace and job})


def _namespace(labels: Mapping[str, str]) -> str | None:
    """Return the prefix of a service's metrics, or None if the labels have no valid one.

    In a cluster, the target's own label `namespace` renames the service's to `exported_namespace`.
    """
    name = labels.get("exported_namespace", labels.get("namespace", ""))
    return name if _PREFIX.fullmatch(name) else None


def only(candidates: Iterable[Service], name: str | None) -> list[Service]:
    """Return the services with this job or namespace, or all services if the name is None.

    Raises MonitoringFailed, with the names of the known services, if no service matches.
    """
    known = list(candidates)
    matches = [s for s in known if name in (None, s.job, s.namespace)]
    if matches:
        return matches
    if not known:
        raise MonitoringFailed(
            "Prometheus has no Safelight metrics for that time. Check that the service is scraped: "
            "see the page Status > Targets in Prometheus."
        )
    names = ", ".join(sorted({s.job for s in known})[:_MOST_NAMES])
    raise MonitoringFailed(f"Prometheus has no service {str(name)[:60]!r}; it has {names}.")


def gather(
    prometheus: Prometheus,
    service: Service,
    at: float,
    spans: Spans | None = None,
    limits: Thresholds | None = None,
) -> Evidence:
    """Return the evidence of one service; the requests run in parallel. Raises MonitoringFailed.

    Without limits, the checks use the defaults of the service's model family.
    """
    spans, limits = spans or Spans(), limits or default_limits(service.namespace)
    facts = FactQueries(service.namespace, service.job)
    window, before = spans.window_seconds, spans.before_seconds
    step, begin = spans.step_seconds, at - spans.history_seconds
    expressions = (
        facts.instant(window),
        facts.instant(before, window),
        facts.instant(before, _DAY),
    )
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
        curves = pool.submit(prometheus.curve, facts.curves(step), begin, at, step)
        results = [pool.submit(prometheus.instant, query, at) for query in expressions]
        alerts = pool.submit(read_alerts, prometheus, service.namespace, service.job, at, limits)
        now, then, yesterday = (_reading(result.result()) for result in results)
        by_fact = _by_fact(curves.result())
        return Evidence(service, at, spans, now, then, yesterday, by_fact, limits, alerts.result())


def _reading(response: Sequence[Series]) -> Reading:
    return Reading(
        {
            name: [(series.labels, series.value) for series in group]
            for name, group in _by_fact(response).items()
        }
    )


def _by_fact(response: Iterable[Series]) -> dict[str, list[Series]]:
    def fact(series: Series) -> str:
        return series.labels.get(FACT, "")

    return {name: list(group) for name, group in groupby(sorted(response, key=fact), key=fact)}


def _names(where: Where | None) -> set[tuple[str, str]]:
    return {(label.name, value) for label, value in (where or {}).items()}
