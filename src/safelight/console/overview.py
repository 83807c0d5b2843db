"""The page Now: for each service its numbers and the first finding; and the alerts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from safelight.console.choices import Span, chosen
from safelight.dashboards.board import Better, Board, Panel, Shape
from safelight.dashboards.catalog import boards
from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, gather, services
from safelight.diagnosis.prometheus import ActiveAlert, Prometheus
from safelight.diagnosis.report import Diagnosis, FindingData, as_data
from safelight.errors import MonitoringAbsent, MonitoringFailed
from safelight.rules.leads import LEADS
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import LIVE

_MOST_SERVICES, _MOST_ALERTS = 20, 100
_KEPT_SECONDS = 30.0  # a diagnosis asks Prometheus more than a hundred questions
_RANGE_SECONDS, _STEP_SECONDS, _POINTS = 1800.0, 60.0, 31
DASHBOARDS = {name: uid for uid, names in LEADS.items() for name in names}
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
Limits = Callable[[str], Thresholds]  # by namespace


@dataclass(frozen=True, slots=True)
class Stat:
    """A number of the Live dashboard; `state` is good, bad or unknown.

    `trend` has the first value of each minute of the last half hour, or None where it is unknown.
    """

    title: str
    text: str
    unit: str
    onward: str
    values: tuple[tuple[str, float], ...]
    state: str
    trend: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that fires, or that is pending."""

    name: str
    severity: str
    state: str
    since: str
    job: str
    summary: str
    dashboard: str


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service. `requests` and `finding` are those of its last diagnosis, if there is one."""

    job: str
    namespace: str
    stats: tuple[Stat, ...]
    requests: int
    severity: str
    finding: FindingData | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All services and alerts at a time. `problem` says why there is nothing.

    `absent` is the address where no Prometheus answers.
    """

    at: float
    services: tuple[ServiceView, ...] = ()
    alerts: tuple[Alert, ...] = ()
    problem: str = ""
    absent: str = ""


Numbers = Sequence[tuple[Panel, tuple[tuple[str, str], ...]]]  # with legends and PromQL
Trends = Mapping[tuple[str, str], tuple[float | None, ...]]  # by title and legend


@dataclass(frozen=True, slots=True)
class _Kept:
    """What changes slowly, and is read every half minute."""

    since: float
    diagnosis: Diagnosis
    trends: Trends


class Reader:
    """Reads overviews, one after the other. `clock` is in seconds."""

    def __init__(
        self, prometheus: Prometheus, limits: Limits, clock: Callable[[], float] = monotonic
    ) -> None:
        self._prometheus = prometheus
        self._limits = limits
        self._clock = clock
        self._kept: dict[Service, _Kept] = {}

    def read(self) -> Overview:
        """Return the state of all services now. It takes some seconds if a diagnosis is due."""
        try:
            at = self._prometheus.now()
            found = services(self._prometheus, at)[:_MOST_SERVICES]
            active = [each for each in self._prometheus.alerts() if calls_somebody(each)]
            alerts = tuple(map(_alert, active[:_MOST_ALERTS]))
            views = tuple(self._view(each, at) for each in found)
        except MonitoringAbsent as error:
            return Overview(0.0, problem=str(error), absent=error.address)
        except MonitoringFailed as error:
            return Overview(0.0, problem=str(error))
        self._kept = {each: self._kept[each] for each in found}
        problem = "" if found else "Prometheus has no Safelight metrics. Is a service scraped?"
        return Overview(at, views, alerts, problem)

    def _view(self, service: Service, at: float) -> ServiceView:
        limits = self._limits(service.namespace)
        numbers = _numbers(boards(limits)[0], service, at)
        kept = self._slow(service, at, limits, numbers)
        stats = tuple(self._stat(*number, at, kept.trends) for number in numbers)
        report = as_data(kept.diagnosis, self._prometheus)
        finding = report["findings"][0] if report["findings"] else None
        return ServiceView(
            service.job,
            service.namespace,
            stats,
            report["requests"],
            report["severity"] if finding else "",
            finding,
        )

    def _stat(
        self, panel: Panel, queries: tuple[tuple[str, str], ...], at: float, trends: Trends
    ) -> Stat:
        values = tuple(
            (legend, series.value)
            for legend, expr in queries
            for series in self._prometheus.instant(expr, at)
        )
        worst_first = tuple(sorted(values, key=lambda value: state(panel, (value,)) != BAD))
        trend = trends.get((panel.title, worst_first[0][0]), ()) if worst_first else ()
        found = state(panel, values)
        return Stat(panel.title, panel.text, panel.unit, panel.onward, worst_first, found, trend)

    def _slow(self, service: Service, at: float, limits: Thresholds, numbers: Numbers) -> _Kept:
        now = self._clock()
        kept = self._kept.get(service)
        if kept is None or now - kept.since >= _KEPT_SECONDS:
            evidence = gather(self._prometheus, service, at, limits=limits)
            diagnosis = Diagnosis(evidence, judge(evidence))
            kept = self._kept[service] = _Kept(now, diagnosis, self._trends(numbers, at))
        return kept

    def _trends(self, numbers: Numbers, at: float) -> Trends:
        end = at // _STEP_SECONDS * _STEP_SECONDS
        times = [end - _RANGE_SECONDS + _STEP_SECONDS * place for place in range(_POINTS)]
        found = {}
        for panel, queries in numbers:
            for legend, expr in queries:
                for series in self._prometheus.curve(expr, times[0], end, _STEP_SECONDS):
                    known = {at: float(f"{value:.4g}") for at, value in series.points}
                    found[panel.title, legend] = tuple(known.get(each) for each in times)
        return found


def _numbers(board: Board, service: Service, at: float) -> Numbers:
    span = Span.of(at - _RANGE_SECONDS, at)
    filled = chosen(board, {"namespace": service.namespace, "job": service.job}, span)
    return [
        (panel, tuple((query.legend, filled.fill(query.expr)) for query in panel.queries))
        for panel in board.panels
        if panel.shape is Shape.NUMBER
    ]


def state(panel: Panel, values: tuple[tuple[str, float], ...]) -> str:
    """Return whether the values of a number are good or bad by its limit, or unknown."""
    if not values:
        return UNKNOWN
    if panel.limit is None:
        return GOOD
    limit = panel.limit
    if panel.better is Better.HIGH:
        return BAD if any(value < limit for _, value in values) else GOOD
    return BAD if any(value >= limit for _, value in values) else GOOD


def calls_somebody(active: ActiveAlert) -> bool:
    """Return whether an alert is not the one that always fires, to show that alerts work."""
    return active.labels.get("severity", "") != "none"


def _alert(active: ActiveAlert) -> Alert:
    labels = active.labels
    name = labels.get("alertname", "")
    return Alert(
        name,
        labels.get("severity", ""),
        active.state,
        active.since,
        labels.get("job", ""),
        active.annotations.get("summary", ""),
        DASHBOARDS.get(name, LIVE),
    )
