"""Test cases of alerts: series that make an alert fire, and series that do not."""

import re
from dataclasses import dataclass
from typing import Any

from safelight.rules.files import as_yaml
from safelight.rules.recording import recording_groups
from safelight.rules.rule import Alert, Group, Recording
from tests.rules.promtool import NAMESPACE, Series, firing, never, part, then

_WINDOW = re.compile(r"\[(\d+)([smhd])")
_MINUTES = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}
# Their cases contain the recordings: one fires without them, the other reads days of them.
_GIVEN = {"BudgetsStale", "ErrorBudgetExhaustionAhead"}
_HELD = 10  # minutes that it fires before the fault ends


@dataclass(frozen=True, slots=True)
class Case:
    """Series of one alert. `at` is the first minute at which it fires, counted from 0."""

    fires: tuple[Series, ...]
    quiet: tuple[Series, ...]
    at: int
    resolves: int | None = None  # minutes without the fault after which the alert must have ended


def rules_for(alert: Alert) -> str:
    """Return a rule file with this alert only, and the recordings that it reads."""
    needed: list[Recording] = []
    available = () if alert.name in _GIVEN else recording_groups(NAMESPACE)
    for group in reversed(available):
        for rule in reversed(group.recordings):
            readers = (alert.expr, *(recording.expr for recording in needed))
            if any(re.search(rf"{re.escape(rule.record)}\b", expr) for expr in readers):
                needed.insert(0, rule)
    return as_yaml([Group("read", tuple(needed)), Group("one", (alert,))])


def stays_quiet(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that the alert does not fire on the quiet series."""
    return part(case.quiet, promql_expr_test=[never(alert.name, f"{case.at + 60}m")])


def fires_and_resolves(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that the alert fires at its minute, not before, and ends with the fault."""
    end = case.at + _HELD
    resolved = end + (case.resolves or _window(alert))
    checks = [
        *([never(alert.name, f"{case.at - 1}m")] if case.at else []),
        *(firing(alert.name, f"{minute}m", 1) for minute in (case.at, end - 1)),
        firing(alert.name, f"{resolved}m", 0),
    ]
    return part(then(case.fires, end, case.quiet), promql_expr_test=checks)


def _window(alert: Alert) -> int:
    windows = (float(n) * _MINUTES[unit] for n, unit in _WINDOW.findall(alert.expr))
    return int(max(windows, default=0)) + 2
