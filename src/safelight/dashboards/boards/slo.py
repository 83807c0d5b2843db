"""The board of the objectives: what is left of each error budget, and how fast it burns."""

from safelight.dashboards.board import Board, Panel, Query, Shape
from safelight.dashboards.boards.common import CHOSEN, NOW, SHARE, board, lines, panel, row
from safelight.metrics.catalog import REQUEST_SECONDS
from safelight.metrics.promql import JOB
from safelight.rules.objectives import DAYS, burn_name, events_name, missed_name
from safelight.rules.thresholds import Thresholds, percent

_OF = "{{job}} {{objective}}"
_NAMESPACE = NOW.namespace
_JOB = f'{{job="{CHOSEN[JOB]}"}}'.replace('="~', '=~"')


def slo(limits: Thresholds) -> Board:
    """Return the board of the error budgets."""
    return board(
        "SLO",
        "Do we keep what we promise over thirty days, and if not: since when, and how fast?",
        row("Budgets", *_budgets(limits)),
        row("Burn", *_burns()),
        row("Events", *_events()),
    )


def _kept(name: str) -> str:
    return f"{name}{_JOB}"


def _budgets(limits: Thresholds) -> tuple[Panel, ...]:
    left = f"1 - {_kept(burn_name(_NAMESPACE, f'{DAYS}d'))}"
    promised = (
        f"availability {percent(limits.availability_ratio)}, latency "
        f"{percent(limits.latency_ratio)} within "
        f"{REQUEST_SECONDS.edge(limits.request_p95_seconds):g} s, validity "
        f"{percent(limits.validity_ratio)}"
    )
    return (
        Panel(
            "Budget left",
            f"Of {DAYS} days' budgets: {promised}. Below 0 it is overdrawn.",
            Shape.NUMBER,
            SHARE,
            (Query(left, _OF),),
            limit=0.0,
        ),
        lines(
            "Budget left, over time",
            "A step down is an incident; a slope is a habit.",
            SHARE,
            Query(left, _OF),
        ),
        lines(
            "Budget left in a day",
            "By a straight line through the last six hours: under 0 ErrorBudgetExhaustionAhead "
            "fires.",
            SHARE,
            Query(
                f"predict_linear(({left})[6h:5m], {limits.budget_forecast_seconds})", f"{_OF} ahead"
            ),
            needs="an hour of data",
        ),
    )


def _burn(title: str, description: str, long: str, short: str, limit: float) -> Panel:
    return lines(
        title,
        description,
        "none",
        *(
            Query(_kept(burn_name(_NAMESPACE, window)), f"{_OF} {window}")
            for window in (long, short)
        ),
        limit=limit,
    )


def _burns() -> tuple[Panel, ...]:
    return (
        _burn(
            "Fast",
            "Both windows over 14.4: two per cent of the budget are gone in an hour.",
            "1h",
            "5m",
            14.4,
        ),
        _burn("Quick", "Both over 6: five per cent are gone in six hours.", "6h", "30m", 6),
        _burn("Slow", "Both over 3: ten per cent are gone in a day.", "1d", "2h", 3),
        _burn("Leaking", "Both over 1: at the end of the month it is overdrawn.", "3d", "6h", 1),
    )


def _events() -> tuple[Panel, ...]:
    fires = NOW.foreign("ALERTS", {"alertname": "~ErrorBudget.*", "alertstate": "firing"})
    total, missed = _kept(events_name(NOW)), _kept(missed_name(NOW))
    return (
        lines("Events", "What each objective counts.", "ops", Query(total, _OF)),
        lines("Missed", "What was not as promised.", "ops", Query(missed, _OF)),
        lines("Share missed", "Over five minutes.", SHARE, Query(f"{missed} / {total}", _OF)),
        panel(
            Shape.STATES,
            "Alerts on the budgets",
            "Red while one fires.",
            "short",
            Query(f"max by (alertname, objective) ({fires})", f"{{{{alertname}}}} {_OF}"),
            needs="an alert that fires",
        ),
    )
