"""The page Now: for each service its numbers and the first finding; and the alerts."""

from collections.abc import Callable
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
_FINDING_SECONDS = 30.0  # a diagnosis asks Prometheus more than a hundred questions
_RANGE_SECONDS = 1800.0
DASHBOARDS = {name: uid for uid, names in LEADS.items() for name in names}
GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
Limits = Callable[[str], Thresholds]  # by namespace


@dataclass(frozen=True, slots=True)
class Stat:
    """A number of the Live dashboard; `state` is good, bad or unknown."""

    title: str
    text: str
    unit: str
    onward: str
    values: tuple[tuple[str, float], ...]
    state: str


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


class Reader:
    """Reads overviews, one after the other. `clock` is in seconds."""

    def __init__(
        self, prometheus: Prometheus, limits: Limits, clock: Callable[[], float] = monotonic
    ) -> None:
        self._prometheus = prometheus
        self._limits = limits
        self._clock = clock
        self._diagnoses: dict[Service, tuple[float, Diagnosis]] = {}

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
        self._diagnoses = {each: self._diagnoses[each] for each in found}
        problem = "" if found else "Prometheus has no Safelight metrics. Is a service scraped?"
        return Overview(at, views, alerts, problem)

    def _view(self, service: Service, at: float) -> ServiceView:
        limits = self._limits(service.namespace)
        live = boards(limits)[0]
        numbers = [panel for panel in live.panels if panel.shape is Shape.NUMBER]
        stats = tuple(self._stat(live, panel, service, at) for panel in numbers)
        report = as_data(self._diagnosis(service, at, limits), self._prometheus)
        finding = report["findings"][0] if report["findings"] else None
        return ServiceView(
            service.job,
            service.namespace,
            stats,
            report["requests"],
            report["severity"] if finding else "",
            finding,
        )

    def _stat(self, board: Board, panel: Panel, service: Service, at: float) -> Stat:
        span = Span.of(at - _RANGE_SECONDS, at)
        filled = chosen(board, {"namespace": service.namespace, "job": service.job}, span)
        values = tuple(
            (query.legend, series.value)
            for query in panel.queries
            for series in self._prometheus.instant(filled.fill(query.expr), at)
        )
        worst_first = tuple(sorted(values, key=lambda value: state(panel, (value,)) != BAD))
        found = state(panel, values)
        return Stat(panel.title, panel.text, panel.unit, panel.onward, worst_first, found)

    def _diagnosis(self, service: Service, at: float, limits: Thresholds) -> Diagnosis:
        now = self._clock()
        kept = self._diagnoses.get(service)
        if kept is None or now - kept[0] >= _FINDING_SECONDS:
            evidence = gather(self._prometheus, service, at, limits=limits)
            kept = self._diagnoses[service] = now, Diagnosis(evidence, judge(evidence))
        return kept[1]


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
