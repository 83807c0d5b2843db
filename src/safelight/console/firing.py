"""The page Alerts: active and past alerts, their receivers, and silences."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from safelight.console.alertmanager import Alertmanager, Routed, Silence
from safelight.console.answering import answer, read_json
from safelight.console.answers import Answers
from safelight.console.choices import Span
from safelight.console.overview import DASHBOARDS, calls_somebody
from safelight.console.sessions import session_of
from safelight.diagnosis.prometheus import ActiveAlert, Prometheus, Series
from safelight.errors import InvalidParameter, MonitoringFailed
from safelight.rules.files import groups
from safelight.rules.rule import Runbook
from safelight.serving.http.scopes import OPERATE

_MOST = 500  # alerts, and episodes
_HISTORY_SECONDS = 86_400.0
_SHORT_TEXT, _LONG_TEXT, _MOST_LABELS, _MOST_HOURS = 200, 500, 20, 24.0 * 30
_SILENCE_ID = re.compile(r"[0-9a-f-]{1,64}")
_HISTORY = 'ALERTS{alertstate="firing",severity!="none"}'
_HIDDEN = {"__name__", "alertstate"}
_TEST_LABELS = {"alertname": "SafelightTest", "job": "safelight-console"}
_TEST_SAYS = "Somebody tests with the console whether this message arrives. Nothing is wrong."


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert now. `state` is firing, pending, silenced or inhibited; `since` is RFC 3339.

    `receivers` is None if Alertmanager does not know the alert, or does not answer.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    since: str
    look: str
    dashboard: str
    receivers: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert that fired from `begin` to `end`, in seconds since 1970; `lasts` until now."""

    labels: Mapping[str, str]
    begin: float
    end: float
    lasts: bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True)


class _NewSilence(_Strict):
    labels: dict[str, str] = Field(min_length=1, max_length=_MOST_LABELS)
    hours: float = Field(gt=0, le=_MOST_HOURS, strict=False)
    reason: str = Field(min_length=1, max_length=_LONG_TEXT)
    by: str = Field("", max_length=_SHORT_TEXT)


class _Test(_Strict):
    severity: str = Field(
        pattern="^(critical|warning|info)$", description="A severity is critical, warning or info."
    )


class Alerts:
    """The routes of the page. `namespace` chooses the runbooks of machines."""

    def __init__(self, prometheus: Prometheus, alertmanager: Alertmanager, namespace: str) -> None:
        self._prometheus = prometheus
        self._alertmanager = alertmanager
        self._runbooks = _runbooks(namespace)
        self._answers: Answers[dict[str, object]] = Answers()

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/data/alerts", self._now),
            Route("/data/alerts/history", self._history),
            Route("/data/alerts/test", self._test, methods=["POST"]),
            Route("/data/silences", self._silence, methods=["POST"]),
            Route("/data/silences/{id}", self._end, methods=["DELETE"]),
        ]

    async def _now(self, _: Request) -> Response:
        return answer(await asyncio.to_thread(self._read))

    def _read(self) -> dict[str, object]:
        active = [each for each in self._prometheus.alerts() if calls_somebody(each)]
        routed, silences, problem = self._routed()
        views = [self._view(each, routed) for each in active[:_MOST]]
        return {
            "at": self._prometheus.now(),
            "alerts": sorted(views, key=_order),
            "left_out": max(0, len(active) - _MOST),
            "silences": [silence.model_dump() for silence in silences],
            "problem": problem,
        }

    def _routed(self) -> tuple[dict[frozenset[tuple[str, str]], Routed], list[Silence], str]:
        try:
            found, silences = self._alertmanager.alerts(), self._alertmanager.silences()
        except MonitoringFailed as error:
            return {}, [], str(error)
        return {frozenset(each.labels.items()): each for each in found}, silences, ""

    def _view(
        self, active: ActiveAlert, routed: Mapping[frozenset[tuple[str, str]], Routed]
    ) -> AlertView:
        name = active.labels.get("alertname", "")
        own, runbook = _find(active.labels, routed), self._runbooks.get(name)
        return AlertView(
            active.labels,
            active.annotations,
            _state(active, own),
            active.since,
            runbook.look if runbook else "",
            DASHBOARDS.get(name, ""),
            tuple(each.name for each in own.receivers) if own else None,
        )

    async def _history(self, request: Request) -> Response:
        try:
            length = float(request.query_params.get("seconds", _HISTORY_SECONDS))
        except ValueError:
            raise InvalidParameter("Write a length of time in seconds.") from None
        return answer(await self._answers.of(length, partial(self._past, length)))

    def _past(self, length: float) -> dict[str, object]:
        end = self._prometheus.now()
        span = Span.of(end - length, end)
        query = f"max_over_time({_HISTORY}[{span.step}s])"  # so that no short alert is missed
        series = self._prometheus.curve(query, span.begin, span.end, span.step)
        firing = [each.labels for each in self._prometheus.instant(_HISTORY, end)]
        found = sorted(episodes(series, span, end, firing), key=lambda each: -each.begin)
        return {
            "begin": span.begin,
            "end": span.end,
            "step": span.step,
            "episodes": found[:_MOST],
            "left_out": max(0, len(found) - _MOST),
        }

    async def _silence(self, request: Request) -> Response:
        session = session_of(request)
        session.require(OPERATE)
        new = await read_json(request, _NewSilence)
        by = session.name or new.by or "console"
        made = partial(self._alertmanager.silence, new.labels, new.hours, by, new.reason)
        return answer({"id": await asyncio.to_thread(made)}, 201)

    async def _end(self, request: Request) -> Response:
        session_of(request).require(OPERATE)
        name = str(request.path_params["id"])
        if not _SILENCE_ID.fullmatch(name):
            raise InvalidParameter("This is not the id of a silence.")
        await asyncio.to_thread(self._alertmanager.end, name)
        return answer({})

    async def _test(self, request: Request) -> Response:
        session_of(request).require(OPERATE)
        test = await read_json(request, _Test)
        labels = {**_TEST_LABELS, "severity": test.severity}
        texts = {"summary": "This is a test.", "description": _TEST_SAYS}
        await asyncio.to_thread(self._alertmanager.notify, labels, texts)
        return answer({})


def episodes(
    series: Sequence[Series], span: Span, now: float, firing: Sequence[Mapping[str, str]] = ()
) -> list[Episode]:
    """Return when alerts fired, to one step: a gap of more than one step ends an episode.

    A point of a series says whether its alert fired in the step before. `firing` has the labels of
    the alerts that fire now.
    """
    last, found = {frozenset(_shown(labels).items()) for labels in firing}, []
    for each in series:
        labels = _shown(each.labels)
        times = [at for at, _ in each.points]
        for _, run in groupby(enumerate(times), lambda pair: pair[1] - pair[0] * span.step):
            own = [at for _, at in run]
            lasts = own[-1] >= now and frozenset(labels.items()) in last
            found.append(Episode(labels, own[0] - span.step, min(own[-1], now), lasts))
    return found


def _shown(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name not in _HIDDEN}


def _runbooks(namespace: str) -> dict[str, Runbook]:
    return {alert.name: alert.runbook for group in groups(namespace) for alert in group.alerts}


def _find(
    labels: Mapping[str, str], routed: Mapping[frozenset[tuple[str, str]], Routed]
) -> Routed | None:
    """Return Alertmanager's alert. Prometheus may add labels to what it sends: external ones."""
    own = frozenset(labels.items())
    return routed.get(own) or next((each for key, each in routed.items() if own < key), None)


def _state(active: ActiveAlert, routed: Routed | None) -> str:
    if routed is None or active.state != "firing":
        return active.state
    if routed.status.silenced_by:
        return "silenced"
    return "inhibited" if routed.status.inhibited_by else active.state


def _order(view: AlertView) -> tuple[int, int, str]:
    """Order alerts: what somebody must act on first."""
    states, severities = ("firing", "pending", "inhibited", "silenced"), ("critical", "warning")
    severity = view.labels.get("severity", "")
    rank = severities.index(severity) if severity in severities else len(severities)
    return states.index(view.state) if view.state in states else 0, rank, view.since
