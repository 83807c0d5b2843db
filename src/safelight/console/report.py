"""The page Health report: the findings of a time with their evidence as curves, and what comes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.answering import answer, read_query
from safelight.console.answers import Answers
from safelight.console.choices import Span
from safelight.console.overview import Limits
from safelight.diagnosis.comparison import comparison
from safelight.diagnosis.diagnose import judge
from safelight.diagnosis.evidence import Service, Spans, gather, services
from safelight.diagnosis.finding import Exhibit, Finding
from safelight.diagnosis.forecast import budgets, forecasts
from safelight.diagnosis.page import page
from safelight.diagnosis.prometheus import Prometheus, Series
from safelight.diagnosis.report import Diagnosis, as_data
from safelight.diagnosis.routine import trends
from safelight.errors import InvalidParameter, MonitoringFailed, UnknownRequest
from safelight.rules.thresholds import Thresholds
from safelight.translation import Language
from safelight.units import by_numbers, when

_LATEST = 4_102_444_800.0  # the year 2100
_BEFORE_SECONDS, _AFTER_SECONDS = 2 * 3600.0, 1800.0  # of the curves, around the moment
_MOST_CURVES, _MOST_SERIES, _MOST_FINDINGS = 40, 12, 30
_AHEAD_SECONDS = 60.0  # what a browser's clock may be ahead of Prometheus' clock
_DAY = 86_400
_HIDDEN = {"__name__", "job"}
_NOTHING_THEN = (
    "Prometheus has no Safelight metrics of {at}: no service was scraped then, or it no longer "
    "keeps that time. Choose a later time."
)
_NO_SERVICE = "Prometheus has no Safelight metrics for that time. Is a service scraped?"


class _Choice(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = Field(
        "",
        pattern=r"^(|[a-z][a-z0-9_]{0,39})$",
        description="A namespace has small letters, digits and underscores: at most 40.",
    )
    job: str = Field("", max_length=200)
    at: float | None = Field(None, ge=0, le=_LATEST, allow_inf_nan=False)
    language: Language = "en"  # of the page that is exported


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a curve: its labels as text, its points, and whether the finding is of it."""

    name: str
    points: Sequence[tuple[float, float]]
    is_subject: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """The series of one piece of evidence. `problem` says why there are none."""

    lines: Sequence[Line]
    left_out: int
    unit: str
    limit: float | None
    problem: str = ""


class Report:
    """The routes of the page. `limits` returns the alerts' limits of a namespace."""

    def __init__(self, prometheus: Prometheus, limits: Limits) -> None:
        self._prometheus = prometheus
        self._limits = limits
        self._answers: Answers[dict[str, object]] = Answers()
        self._pages: Answers[tuple[str, float]] = Answers()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/data/report", self._show),
            Route("/data/report/trends", self._trends),
            Route("/data/report/page", self._export),
        ]

    async def _show(self, request: Request) -> Response:
        choice = read_query(request, _Choice)
        return answer(await self._answers.of(_key("report", choice), partial(self._read, choice)))

    async def _trends(self, request: Request) -> Response:
        choice = read_query(request, _Choice)
        return answer(await self._answers.of(_key("trends", choice), partial(self._weeks, choice)))

    async def _export(self, request: Request) -> Response:
        choice = read_query(request, _Choice)
        text, at = await self._pages.of(_key("page", choice), partial(self._page, choice))
        name = f"health-report-{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H-%M}.html"
        headers = {
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "no-store",
        }
        return Response(text, media_type="text/html", headers=headers)

    # ── In threads ───────────────────────────────────────────────────────────────────────────────

    def _page(self, choice: _Choice) -> tuple[str, float]:
        _, service, at = self._find(choice)
        diagnosis = self._diagnosis(service, at, self._limits(service.namespace))
        return page([as_data(diagnosis, self._prometheus)], choice.language), at

    def _read(self, choice: _Choice) -> dict[str, object]:
        known, service, at = self._find(choice)
        diagnosis = self._diagnosis(service, at, self._limits(service.namespace))
        evidence, now = diagnosis.evidence, self._prometheus.now()
        span = Span.of(at - _BEFORE_SECONDS, min(now, at + _AFTER_SECONDS))
        data = as_data(diagnosis, self._prometheus)
        return {
            "report": {**data, "findings": data["findings"][:_MOST_FINDINGS]},
            "left_out": max(0, len(data["findings"]) - _MOST_FINDINGS),
            "curves": self._curves(diagnosis.findings[:_MOST_FINDINGS], span),
            "forecasts": [
                {**asdict(each), "used_up": each.used_up}
                for each in (*forecasts(evidence), *budgets(self._prometheus, evidence))
            ],
            "services": known,
            "moment": at,
            "now": now,
            "begin": span.begin,
            "end": span.end,
            "step": span.step,
        }

    def _weeks(self, choice: _Choice) -> dict[str, object]:
        _, service, at = self._find(choice, Spans(history_seconds=_DAY))
        found = trends(self._prometheus, service, at, self._limits(service.namespace))
        changes = [
            {**asdict(each), "factor": each.factor, "notable": each.notable}
            for each in found.changes
        ]
        proposals = [{**asdict(each), "problem": each.problem} for each in found.proposals]
        return {
            **asdict(found),
            "changes": changes,
            "proposals": proposals,
            "comparable": found.comparable,
            "judged": found.judged,
        }

    def _find(
        self, choice: _Choice, spans: Spans | None = None
    ) -> tuple[list[Service], Service, float]:
        """Return the services of the time, the chosen one, and the time."""
        now = self._prometheus.now()
        at = now if choice.at is None else choice.at
        if at > now + _AHEAD_SECONDS:
            raise InvalidParameter(
                f"That time is in the future: the clock of Prometheus shows {when(now)}."
            )
        known = services(self._prometheus, at, spans)
        if not known and at < now - _AHEAD_SECONDS:
            raise InvalidParameter(_NOTHING_THEN.format(at=when(at)))
        if not known:
            raise MonitoringFailed(_NO_SERVICE)
        chosen = [
            each
            for each in known
            if choice.namespace in ("", each.namespace) and choice.job in ("", each.job)
        ]
        if not chosen:
            raise UnknownRequest("service")
        return known, chosen[0], min(at, now)

    def _diagnosis(self, service: Service, at: float, limits: Thresholds) -> Diagnosis:
        evidence = gather(self._prometheus, service, at, limits=limits)
        return Diagnosis(evidence, judge(evidence))

    def _curves(self, findings: Sequence[Finding], span: Span) -> list[list[Curve | None]]:
        """Return a curve for each piece of evidence of each finding; None if it has none."""
        rest, found = _MOST_CURVES, []
        for finding in findings:
            own: list[Curve | None] = []
            for exhibit in finding.sign.exhibits:
                is_drawn = bool(exhibit.query) and rest > 0 and not finding.listed_under
                rest -= is_drawn
                own.append(self._curve(finding, exhibit, span) if is_drawn else None)
            found.append(own)
        return found

    def _curve(self, finding: Finding, exhibit: Exhibit, span: Span) -> Curve:
        query, limit = exhibit.query, exhibit.limit
        compared = comparison(query)
        if compared and compared.measured:
            symptom = finding.sign.symptom
            query = compared.measured
            limit = compared.number if symptom is None else symptom.limit
        try:
            series = self._prometheus.curve(query, span.begin, span.end, span.step)
        except MonitoringFailed as error:
            return Curve((), 0, "short", limit, str(error))
        lines = sorted((_line(each, finding.sign.subject) for each in series), key=_order)
        unit = unit_of(query, series)
        return Curve(lines[:_MOST_SERIES], max(0, len(lines) - _MOST_SERIES), unit, limit)


def _key(name: str, choice: _Choice) -> tuple[str, _Choice]:
    return name, choice


def _line(series: Series, subject: str) -> Line:
    shown = [value for name, value in series.labels.items() if name not in _HIDDEN and value]
    is_subject = any(value in (subject, *subject.split(", ")) for value in shown)
    return Line(" ".join(shown), series.points, is_subject)


def _order(line: Line) -> tuple[object, ...]:
    """Return a key: the subject first, positions of steps by number, others the largest first."""
    least = 0.0 if line.name[:1].isdigit() else -line.points[-1][1]
    return not line.is_subject, least, by_numbers(line.name)


def unit_of(query: str, series: Sequence[Series]) -> str:
    """Return the unit of an expression, in the dashboards' words, as far as its names tell it."""
    values = [value for each in series for _, value in each.points]
    if "_seconds_bucket" in query or "_seconds_sum" in query or "time()" in query:
        return "s"
    if "_ratio" in query or ("/" in query and values and max(values) <= 1):
        return "percentunit"
    if "_bytes" in query:
        return "bytes"
    if "rate(" in query and "/" not in query:
        return "ops"
    return "s" if "_seconds" in query else "short"
