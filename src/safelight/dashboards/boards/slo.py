"""Dashboard of the objectives: remaining error budgets and burn rates."""

from dataclasses import replace

from safelight.dashboards.board import FIRING, Better, Board, Panel, Query, Shape
from safelight.dashboards.boards.common import (
    COUNT,
    NOW,
    OF_JOB,
    SHARE,
    board,
    firing,
    lines,
    panel,
    row,
)
from safelight.metrics.catalog import REQUEST_SECONDS
from safelight.rules.objectives import DAYS, burn_name, events_name, missed_name
from safelight.rules.thresholds import Thresholds
from safelight.rules.uids import INSTRUCTIONS, REQUEST, SLO
from safelight.units import duration, percent

_OF = "{{job}} {{objective}}"
_NAMESPACE = NOW.namespace


def slo(limits: Thresholds) -> Board:
    """Return the dashboard of the error budgets."""
    slow = board(
        SLO,
        "SLO",
        "Does the service meet its objectives over thirty days, and how fast are budgets used?",
        row("Budgets", REQUEST, *_budgets(limits)),
        row("Burn rates", REQUEST, *_burns()),
        row("Events", INSTRUCTIONS, *_events()),
    )
    return replace(slow, begin="now-7d", refresh="5m")


def _budgets(limits: Thresholds) -> tuple[Panel, ...]:
    ahead = limits.budget_forecast_seconds
    remaining = f"1 - {OF_JOB.recorded(burn_name(_NAMESPACE, f'{DAYS}d'))}"
    objectives = (
        f"availability {percent(limits.availability_ratio)}, latency "
        f"{percent(limits.latency_ratio)} within "
        f"{REQUEST_SECONDS.edge(limits.request_p95_seconds):g} s, validity "
        f"{percent(limits.validity_ratio)}"
    )
    return (
        Panel(
            "How much of each budget is left?",
            f"Share of {DAYS} days' budgets. Objectives: {objectives}. Below 0 it is overspent.",
            Shape.BARS,
            SHARE,
            (Query(remaining, _OF),),
            limit=0.0,
            better=Better.HIGH,
        ),
        lines(
            "When was the budget used?",
            "Remaining budget. A sudden fall is an incident. A steady fall is a permanent problem.",
            SHARE,
            Query(remaining, _OF),
        ),
        lines(
            "Will the budget last?",
            f"Remaining budget in {duration(ahead)}, by the last six hours. Below 0, "
            "ErrorBudgetExhaustionAhead fires.",
            SHARE,
            Query(f"predict_linear(({remaining})[6h:5m], {ahead})", f"{_OF} forecast"),
            needs="an hour of data",
        ),
    )


def _burn(title: str, description: str, long: str, short: str, limit: float) -> Panel:
    queries = (
        Query(OF_JOB.recorded(burn_name(_NAMESPACE, window)), f"{_OF} {window}")
        for window in (long, short)
    )
    return lines(title, description, "none", *queries, limit=limit)


def _burns() -> tuple[Panel, ...]:
    return (
        _burn(
            "Is the budget used within two days? (ErrorBudgetBurnFast)",
            "If both windows are above 14.4, 2 % of the budget are used per hour.",
            "1h",
            "5m",
            14.4,
        ),
        _burn(
            "Is it used within five days? (ErrorBudgetBurn)",
            "If both are above 6, 5 % are used in six hours.",
            "6h",
            "30m",
            6,
        ),
        _burn(
            "Is it used within ten days? (ErrorBudgetBurnSlow)",
            "If both are above 3, 10 % are used per day.",
            "1d",
            "2h",
            3,
        ),
    )


def _events() -> tuple[Panel, ...]:
    fires = firing({"alertname": "~ErrorBudget.*"})
    total, missed = OF_JOB.recorded(events_name(NOW)), OF_JOB.recorded(missed_name(NOW))
    return (
        lines(
            "How many events are bad?",
            "Share of the events that miss each objective, over five minutes.",
            SHARE,
            Query(f"{missed} / ({total} > 0)", _OF),
        ),
        panel(
            Shape.STATES,
            "When did alerts on the budgets fire?",
            "Red while the alert fires.",
            COUNT,
            Query(f"max by (alertname, objective) ({fires})", f"{{{{alertname}}}} {_OF}"),
            needs=FIRING,
        ),
    )
