"""Objectives as data, and how fast their error budgets burn: several windows, many speeds.

Source: Google, "The Site Reliability Workbook", chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from safelight.metrics.catalog import IMAGES, OUTPUT_INVALID, REQUEST_SECONDS, REQUESTS, STATUS_CODE
from safelight.metrics.promql import JOB, Matchers, Queries
from safelight.rules.rule import AS_JOB, AS_NUMBER, Alert, Recording, Runbook, Severity
from safelight.rules.thresholds import Thresholds, minutes

DAYS = 30
INTERVAL_SECONDS = 60
_NOW, _PERIOD = "5m", f"{DAYS}d"
_WINDOWS = (_NOW, "30m", "1h", "2h", "6h", "1d", "3d", _PERIOD)
_OBJECTIVE = "{{ $labels.objective }}"


@dataclass(frozen=True, slots=True)
class Objective:
    """What share of which events must be good, over thirty days; both rates are per second."""

    name: str
    target: Callable[[Thresholds], float]
    events: Callable[[Queries], str]
    missed: Callable[[Queries, Thresholds], str]


def _answers(queries: Queries) -> str:
    return queries.rate(REQUESTS, (JOB,))


def _unavailable(queries: Queries, _: Thresholds) -> str:
    return f"{queries.rate(REQUESTS, (JOB,), {STATUS_CODE: '~5..'})} or 0 * {_answers(queries)}"


def _served(queries: Queries) -> str:
    return queries.rate(REQUEST_SECONDS, (JOB,), {STATUS_CODE: "200"})


def _slow(queries: Queries, limits: Thresholds) -> str:
    edge = REQUEST_SECONDS.edge(limits.request_p95_seconds)
    within: Matchers = {"le": f"{float(edge)}", STATUS_CODE: "200"}
    soon = queries.select(REQUEST_SECONDS, within, "_bucket")
    return f"{_served(queries)} - sum by (job) (rate({soon}[{queries.window}]))"


def _made(queries: Queries) -> str:
    good, broken = queries.rate(IMAGES, (JOB,)), queries.rate(OUTPUT_INVALID, (JOB,))
    return f"({good} or 0 * {broken}) + ({broken} or 0 * {good})"


def _broken(queries: Queries, _: Thresholds) -> str:
    return f"{queries.rate(OUTPUT_INVALID, (JOB,))} or 0 * {queries.rate(IMAGES, (JOB,))}"


OBJECTIVES = (
    Objective("availability", lambda limits: limits.availability_ratio, _answers, _unavailable),
    Objective("latency", lambda limits: limits.latency_ratio, _served, _slow),
    Objective("validity", lambda limits: limits.validity_ratio, _made, _broken),
)


def burn_name(namespace: str, window: str) -> str:
    """Return the name under which the burn rate over a window is kept."""
    return f"{namespace}:error_budget_burn:ratio_rate{window}"


def budget_left(namespace: str) -> str:
    """Return the expression of what is left of each budget: 1 is all, below 0 it is overdrawn."""
    return f"1 - {burn_name(namespace, _PERIOD)}"


def burns(queries: Queries, limits: Thresholds) -> tuple[Recording, ...]:
    """Return the burn rates: 1 uses up the budget in exactly thirty days.

    Events are kept by the minute, so that thirty days are read from a handful of series.
    """
    rows = (row for objective in OBJECTIVES for row in _burns(objective, queries, limits))
    return tuple(rows)


def _burns(objective: Objective, queries: Queries, limits: Thresholds) -> Iterator[Recording]:
    now, labels = replace(queries, window=_NOW), {"objective": objective.name}
    yield Recording(events_name(queries), objective.events(now), labels)
    yield Recording(missed_name(queries), objective.missed(now, limits), labels)
    for window in _WINDOWS:
        missed, events = (
            _within(name(queries), objective, window) for name in (missed_name, events_name)
        )
        share = f"{missed} / {events} / {1 - objective.target(limits):.6g}"
        yield Recording(burn_name(queries.namespace, window), share, labels)


def _within(record: str, objective: Objective, window: str) -> str:
    selected = f'{record}{{objective="{objective.name}"}}'
    return selected if window == _NOW else f"sum_over_time({selected}[{window}])"


def events_name(queries: Queries) -> str:
    """Return the name under which an objective's events per second are kept."""
    return f"{queries.namespace}:objective_events:rate{_NOW}"


def missed_name(queries: Queries) -> str:
    """Return the name under which those that were not as promised are kept."""
    return f"{queries.namespace}:objective_missed:rate{_NOW}"


def _burning(
    name: str, factor: float, long: str, short: str, severity: Severity, for_seconds: int
) -> Callable[[Queries, Thresholds], Alert]:
    def alert(queries: Queries, limits: Thresholds) -> Alert:
        fast, slow = (burn_name(queries.namespace, window) for window in (short, long))
        enough = f"{INTERVAL_SECONDS} * sum_over_time({missed_name(queries)}[{long}])"
        return Alert(
            name,
            f"{slow} > {factor:g} and {fast} > {factor:g} and {enough} >= {limits.least_missed:g}",
            for_seconds=for_seconds,
            severity=severity,
            summary=f"{AS_JOB}: the error budget of {_OBJECTIVE} burns too fast",
            description=(
                f"{AS_JOB} uses up its budget of {_OBJECTIVE} {AS_NUMBER} times as fast as "
                f"{DAYS} days allow, over {long} and over {short} still."
            ),
            runbook=Runbook(
                means=(
                    f"At this speed the budget of {DAYS} days is gone in {DAYS / factor:.2g} days."
                ),
                look=(
                    "availability: errors by reason (request_total). latency: which stage grew "
                    "(request_stage_duration_seconds). validity: output_invalid_total by reason."
                ),
                do="Undo the last change first; then follow the alert of the cause.",
            ),
        )

    return alert


def _exhaustion_ahead(queries: Queries, limits: Thresholds) -> Alert:
    left = budget_left(queries.namespace)
    ahead = limits.budget_forecast_seconds
    return Alert(
        "ErrorBudgetExhaustionAhead",
        f"predict_linear(({left})[6h:5m], {ahead}) < 0 and ({left}) > 0"
        f" and {INTERVAL_SECONDS} * sum_over_time({missed_name(queries)}[6h])"
        f" >= {limits.least_missed:g}",
        for_seconds=1800,
        severity="warning",
        summary=f"{AS_JOB}: the error budget of {_OBJECTIVE} will be used up",
        description=(
            f"As it went in the last 6 hours, {AS_JOB} will have overdrawn its budget of "
            f"{_OBJECTIVE} in {minutes(ahead)}."
        ),
        runbook=Runbook(
            means="No single burn is alarming, and yet it does not end.",
            look="The SLO board: since when does the budget fall, and with what did it begin?",
            do="Plan the mend now; hold back risky changes until the budget recovers.",
        ),
    )


OBJECTIVE_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _burning("ErrorBudgetBurnFast", 14.4, "1h", "5m", "critical", 120),
    _burning("ErrorBudgetBurn", 6, "6h", "30m", "critical", 900),
    _burning("ErrorBudgetBurnSlow", 3, "1d", "2h", "warning", 3600),
    _burning("ErrorBudgetLeaking", 1, "3d", "6h", "info", 10800),
    _exhaustion_ahead,
)
