"""Service level objectives, and alerts on how fast their error budgets are used up.

Source: Google, "The Site Reliability Workbook", chapter 5, "Multiwindow, Multi-Burn-Rate Alerts".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from safelight.metrics.catalog import IMAGES, OUTPUT_INVALID, PRIORITY_SECONDS
from safelight.metrics.exact import seconds
from safelight.metrics.promql import JOB, Matchers, Queries
from safelight.rules.failures import NOT_LOW, number_failed, number_judged
from safelight.rules.rule import AS_JOB, AS_NUMBER, Alert, Recording, Runbook, Scope, Severity
from safelight.rules.thresholds import Thresholds
from safelight.units import duration

DAYS = 30
INTERVAL_SECONDS = 60
_NOW, _PERIOD = "5m", f"{DAYS}d"
_WINDOWS = (_NOW, "30m", "1h", "2h", "6h", "1d", "3d", _PERIOD)
_OBJECTIVE = "{{ $labels.objective }}"


@dataclass(frozen=True, slots=True)
class Objective:
    """The share of events that must be good over thirty days. Both rates are per second."""

    name: str
    target: Callable[[Thresholds], float]
    events: Callable[[Queries], str]
    missed: Callable[[Queries, Thresholds], str]


def _responses(queries: Queries) -> str:
    return f"({number_judged(queries, queries.window)} / {seconds(queries.window)})"


def _unavailable(queries: Queries, _: Thresholds) -> str:
    failed = f"{number_failed(queries, queries.window)} / {seconds(queries.window)}"
    return f"{failed} or 0 * {_responses(queries)}"


def _served(queries: Queries) -> str:
    return queries.rate(PRIORITY_SECONDS, (JOB,), NOT_LOW)


def _slow(queries: Queries, limits: Thresholds) -> str:
    edge = PRIORITY_SECONDS.edge(limits.request_p95_seconds)
    matchers: Matchers = {"le": f"{float(edge)}", **NOT_LOW}
    in_time = queries.select(PRIORITY_SECONDS, matchers, "_bucket")
    return f"{_served(queries)} - sum by (job) (rate({in_time}[{queries.window}]))"


def _all_images(queries: Queries) -> str:
    valid, invalid = queries.rate(IMAGES, (JOB,)), queries.rate(OUTPUT_INVALID, (JOB,))
    return f"({valid} or 0 * {invalid}) + ({invalid} or 0 * {valid})"


def _invalid_images(queries: Queries, _: Thresholds) -> str:
    return f"{queries.rate(OUTPUT_INVALID, (JOB,))} or 0 * {queries.rate(IMAGES, (JOB,))}"


OBJECTIVES = (
    Objective("availability", lambda limits: limits.availability_ratio, _responses, _unavailable),
    Objective("latency", lambda limits: limits.latency_ratio, _served, _slow),
    Objective("validity", lambda limits: limits.validity_ratio, _all_images, _invalid_images),
)


def burn_name(namespace: str, window: str) -> str:
    """Return the name of the recorded burn rate over a window."""
    return f"{namespace}:error_budget_burn:ratio_rate{window}"


def budget_left(namespace: str) -> str:
    """Return the expression of the remaining error budgets: 1 is all, below 0 is overspent."""
    return f"1 - {burn_name(namespace, _PERIOD)}"


def burns(queries: Queries, limits: Thresholds) -> tuple[Recording, ...]:
    """Return the recordings of the burn rates. A rate of 1 uses the budget up in thirty days.

    Events are recorded once a minute, so that thirty days need only a few series.
    """
    return tuple(row for objective in OBJECTIVES for row in _burns(objective, queries, limits))


def _burns(objective: Objective, queries: Queries, limits: Thresholds) -> Iterator[Recording]:
    now, labels = replace(queries, window=_NOW), {"objective": objective.name}
    yield Recording(events_name(queries), objective.events(now), labels)
    yield Recording(missed_name(queries), objective.missed(now, limits), labels)
    for window in _WINDOWS:
        missed, events = (
            _over(name(queries), objective, window) for name in (missed_name, events_name)
        )
        burn = f"{missed} / {events} / {1 - objective.target(limits):.6g}"
        yield Recording(burn_name(queries.namespace, window), burn, labels)


def _over(record: str, objective: Objective, window: str) -> str:
    selector = f'{record}{{objective="{objective.name}"}}'
    return selector if window == _NOW else f"sum_over_time({selector}[{window}])"


def events_name(queries: Queries) -> str:
    """Return the name of the recorded events per second of the objectives."""
    return f"{queries.namespace}:objective_events:rate{_NOW}"


def usual_events(queries: Queries) -> str:
    """Return the selector of the recorded requests per second, without low priority."""
    return f'{events_name(queries)}{{objective="availability"}}'


def missed_name(queries: Queries) -> str:
    """Return the name of the recorded bad events per second of the objectives."""
    return f"{queries.namespace}:objective_missed:rate{_NOW}"


def _missed_enough(queries: Queries, limits: Thresholds, window: str) -> str:
    """Return the condition that a window has enough bad events."""
    number = f"{INTERVAL_SECONDS} * sum_over_time({missed_name(queries)}[{window}])"
    return f"{number} >= {limits.least_missed:g}"


def _burning(
    name: str, factor: float, long: str, short: str, severity: Severity, for_seconds: int
) -> Callable[[Queries, Thresholds], Alert]:
    """Return the alert that fires if two windows burn more than `factor` times too fast."""

    def alert(queries: Queries, limits: Thresholds) -> Alert:
        fast, slow = (burn_name(queries.namespace, window) for window in (short, long))
        return Alert(
            name,
            f"{slow} > {factor:g} and {fast} > {factor:g}"
            f" and {_missed_enough(queries, limits, long)}",
            for_seconds=for_seconds,
            severity=severity,
            scope=Scope.SERVICE,
            summary=f"{AS_JOB}: the error budget of {_OBJECTIVE} burns too fast",
            description=(
                f"{AS_JOB} uses its {_OBJECTIVE} budget {AS_NUMBER} times as fast as {DAYS} "
                f"days allow, over the last {long} and the last {short}."
            ),
            runbook=Runbook(
                means=(
                    f"At the limit of this alert, a full budget of {DAYS} days lasts "
                    f"{DAYS / factor:.2g} days."
                ),
                look=(
                    "availability: errors by reason (request_total). latency: the stage that grew "
                    "(request_stage_duration_seconds). validity: output_invalid_total by reason."
                ),
                do="Undo the last change first. Then follow the alert of the cause.",
            ),
        )

    return alert


def _exhaustion_ahead(queries: Queries, limits: Thresholds) -> Alert:
    remaining = budget_left(queries.namespace)
    ahead = limits.budget_forecast_seconds
    return Alert(
        "ErrorBudgetExhaustionAhead",
        f"predict_linear(({remaining})[6h:5m], {ahead}) < 0 and ({remaining}) > 0"
        f" and {_missed_enough(queries, limits, '6h')}"
        f" and {burn_name(queries.namespace, _PERIOD)} offset 3d",
        for_seconds=1800,
        severity="warning",
        scope=Scope.SERVICE,
        summary=(
            f"{AS_JOB}: the error budget of {_OBJECTIVE} will be used up within {duration(ahead)}"
        ),
        description=(
            f"If the last 6 hours continue, {AS_JOB} uses up its {_OBJECTIVE} budget within "
            f"{duration(ahead)}."
        ),
        runbook=Runbook(
            means="No single burn rate is alarming, but the budget falls steadily.",
            look="The SLO dashboard: when did the budget start to fall, and what changed then?",
            do="Plan the repair now. Delay risky changes until the budget recovers.",
        ),
    )


OBJECTIVE_ALERTS: tuple[Callable[[Queries, Thresholds], Alert], ...] = (
    _burning("ErrorBudgetBurnFast", 14.4, "1h", "5m", "critical", 120),
    _burning("ErrorBudgetBurn", 6, "6h", "30m", "critical", 900),
    _burning("ErrorBudgetBurnSlow", 3, "1d", "2h", "warning", 3600),
    _burning("ErrorBudgetLeaking", 1, "3d", "6h", "info", 10800),
    _exhaustion_ahead,
)
