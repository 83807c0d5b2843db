"""What a case of an alert is: what makes it fire and when, what leaves it quiet, and its proofs."""

import re
from dataclasses import dataclass
from typing import Any

from safelight.rules.files import as_yaml
from safelight.rules.recording import recording_groups
from safelight.rules.rule import Alert, Group, Recording
from tests.rules.promtool import NAMESPACE, Series, firing, never, part, then

_WINDOW = re.compile(r"\[(\d+)([smhd])")
_MINUTES = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}
_MISSING = {"BudgetsStale"}  # fires where recordings are not made: its cases bring them
_HELD = 10  # minutes that it goes on firing before all is well again


@dataclass(frozen=True, slots=True)
class Case:
    """`at` is the first minute at which the firing series make the alert fire, counted from 0."""

    fires: tuple[Series, ...]
    quiet: tuple[Series, ...]
    at: int
    resolves: int | None = None  # minutes of quiet after which it must have ended


def rules_for(alert: Alert) -> str:
    """Return the rule file with this alert alone, and the recordings that it reads."""
    read: list[Recording] = []
    made = () if alert.name in _MISSING else recording_groups(NAMESPACE)
    for group in reversed(made):
        for rule in reversed(group.recordings):
            readers = (alert.expr, *(by.expr for by in read))
            if any(re.search(rf"{re.escape(rule.record)}\b", expr) for expr in readers):
                read.insert(0, rule)
    return as_yaml([Group("read", tuple(read)), Group("one", (alert,))])


def stays_quiet(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that it never fires where it should not, for long after its time."""
    return part(case.quiet, promql_expr_test=[never(alert.name, f"{case.at + 60}m")])


def fires_and_resolves(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that it fires at its minute, not before, and ends with what made it fire."""
    bad = case.at + _HELD
    over = bad + (case.resolves or _window(alert))
    checks = [
        *([never(alert.name, f"{case.at - 1}m")] if case.at else []),
        *(firing(alert.name, f"{minute}m", 1) for minute in (case.at, bad - 1)),
        firing(alert.name, f"{over}m", 0),
    ]
    return part(then(case.fires, bad, case.quiet), promql_expr_test=checks)


def _window(alert: Alert) -> int:
    windows = (float(n) * _MINUTES[unit] for n, unit in _WINDOW.findall(alert.expr))
    return int(max(windows, default=0)) + 2
