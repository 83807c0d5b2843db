"""The page Now: for each service its numbers and the first finding; and the alerts."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
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

_MOST_SERVICES, _MOST_ALERTS, _AT_ONCE = 20, 100, 6
_KEPT_SECONDS = 30.0  # a diagnosis and the trends ask Prometheus fifteen questions or more
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
    """One service. `requests` and `finding` are those of its last diagnosis.

    Until there is one, `is_judged` is false.
    """

    job: str
    namespace: str
    stats: tuple[Stat, ...]
    requests: int
    severity: str
    finding: FindingData | None
    is_judged: bool


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
    """Reads overviews, one after the other. `clock` is in seconds.

    A reading asks its questions six at a time. Diagnoses and trends are made in the background, one
    service after the other; `judged` is called, in another thread, after the first of a service.
    """

    def __init__(
        self,
        prometheus: Prometheus,
        limits: Limits,
        clock: Callable[[], float] = monotonic,
        judged: Callable[[], None] = lambda: None,
    ) -> None:
        self._prometheus = prometheus
        self._limits = limits
        self._clock = clock
        self._judged = judged
        self._kept: dict[Service, _Kept] = {}
        self._judging: dict[Service, Future[None]] = {}
        self._asking = ThreadPoolExecutor(_AT_ONCE, "safelight-overview")
        self._background = ThreadPoolExecutor(1, "safelight-judge")

    def read(self) -> Overview:
        """Return the state of all services now, with their last diagnoses."""
        try:
            at = self._prometheus.now()
            pending = self._asking.submit(self._prometheus.alerts)
            found = services(self._prometheus, at)[:_MOST_SERVICES]
            active = [each for each in pending.result() if calls_somebody(each)]
            alerts = tuple(map(_alert, active[:_MOST_ALERTS]))
            views = self._views(found, at)
        except MonitoringAbsent as error:
            return Overview(0.0, problem=str(error), absent=error.address)
        except MonitoringFailed as error:
            return Overview(0.0, problem=str(error))
        problem = "" if found else "Prometheus has no Safelight metrics. Is a service scraped?"
        return Overview(at, views, alerts, problem)

    def wait(self) -> None:
        """Wait until no diagnosis is being made."""
        wait(self._judging.values())

    def _views(self, found: Sequence[Service], at: float) -> tuple[ServiceView, ...]:
        for gone in [each for each in (*self._kept, *self._judging) if each not in found]:
            self._kept.pop(gone, None)
            if (judging := self._judging.pop(gone, None)) is not None:
                judging.cancel()
        numbers = {each: self._numbers(each, at) for each in found}
        values = self._values(list(numbers.values()), at)
        views = tuple(self._view(each, numbers[each], values) for each in found)
        for each in found:  # after the numbers, which are wanted first
            self._renew(each, at, numbers[each])
        return views

    def _numbers(self, service: Service, at: float) -> Numbers:
        return _numbers(boards(self._limits(service.namespace))[0], service, at)

    def _values(self, everything: Sequence[Numbers], at: float) -> Mapping[str, Sequence[float]]:
        """Return the values of each expression."""
        asked = [expr for numbers in everything for _, queries in numbers for _, expr in queries]
        found = self._asking.map(lambda expr: self._prometheus.instant(expr, at), asked)
        return {
            expr: [each.value for each in series] for expr, series in zip(asked, found, strict=True)
        }

    def _view(
        self, service: Service, numbers: Numbers, values: Mapping[str, Sequence[float]]
    ) -> ServiceView:
        kept = self._kept.get(service)
        trends = kept.trends if kept else {}
        stats = tuple(_stat(*number, values, trends) for number in numbers)
        if kept is None:
            return ServiceView(service.job, service.namespace, stats, 0, "", None, is_judged=False)
        report = as_data(kept.diagnosis, self._prometheus)
        finding = report["findings"][0] if report["findings"] else None
        return ServiceView(
            service.job,
            service.namespace,
            stats,
            report["requests"],
            report["severity"] if finding else "",
            finding,
            is_judged=True,
        )

    # ── In the background ────────────────────────────────────────────────────────────────────────

    def _renew(self, service: Service, at: float, numbers: Numbers) -> None:
        kept, judging = self._kept.get(service), self._judging.get(service)
        if judging is not None:
            if not judging.done():
                return
            judging.result()  # a fault of the program is not hidden
        if kept is None or self._clock() - kept.since >= _KEPT_SECONDS:
            self._judging[service] = self._background.submit(self._judge, service, at, numbers)

    def _judge(self, service: Service, at: float, numbers: Numbers) -> None:
        is_first = service not in self._kept
        try:
            limits = self._limits(service.namespace)
            evidence = gather(self._prometheus, service, at, limits=limits)
            diagnosis = Diagnosis(evidence, judge(evidence))
            kept = _Kept(self._clock(), diagnosis, self._trends(numbers, at))
        except MonitoringFailed:  # the next reading tries again; what is old is not shown as new
            self._kept.pop(service, None)
            return
        self._kept[service] = kept
        if is_first:
            self._judged()

    def _trends(self, numbers: Numbers, at: float) -> Trends:
        end = at // _STEP_SECONDS * _STEP_SECONDS
        times = [end - _RANGE_SECONDS + _STEP_SECONDS * place for place in range(_POINTS)]
        asked = [(panel.title, *query) for panel, queries in numbers for query in queries]
        curves = self._asking.map(
            lambda each: self._prometheus.curve(each[2], times[0], end, _STEP_SECONDS), asked
        )
        found = {}
        for (title, legend, _), curve in zip(asked, curves, strict=True):
            for series in curve:
                known = {at: float(f"{value:.4g}") for at, value in series.points}
                found[title, legend] = tuple(known.get(each) for each in times)
        return found


def _stat(
    panel: Panel,
    queries: tuple[tuple[str, str], ...],
    found: Mapping[str, Sequence[float]],
    trends: Trends,
) -> Stat:
    values = tuple((legend, value) for legend, expr in queries for value in found[expr])
    worst_first = tuple(sorted(values, key=lambda value: state(panel, (value,)) != BAD))
    trend = trends.get((panel.title, worst_first[0][0]), ()) if worst_first else ()
    return Stat(
        panel.title, panel.text, panel.unit, panel.onward, worst_first, state(panel, values), trend
    )


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
