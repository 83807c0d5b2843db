"""What a case of an alert is: what makes it fire and when, what leaves it quiet, and its proofs."""

import re
from dataclasses import dataclass
from typing import Any

from safelight.rules.files import as_yaml
from safelight.rules.recording import recording_groups
from safelight.rules.spec import Alert, Group
from tests.rules.promtool import NAMESPACE, Series, firing, never, part, then

_WINDOW = re.compile(r"\[(\d+)([smhd])")
_MINUTES = {"s": 1 / 60, "m": 1, "h": 60, "d": 1440}
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
    read = [group for group in recording_groups(NAMESPACE) if _reads(alert, group)]
    return as_yaml([*read, Group("one", (alert,))])


def _reads(alert: Alert, group: Group) -> bool:
    return any(re.search(rf"{re.escape(rule.record)}\b", alert.expr) for rule in group.recordings)


def fires(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that it fires at its minute and not before."""
    checks = [firing(alert.name, f"{case.at}m", 1)]
    if case.at:
        checks.insert(0, never(alert.name, f"{case.at - 1}m"))
    return part(case.fires, promql_expr_test=checks)


def stays_quiet(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that it never fires where it should not, for long after its time."""
    return part(case.quiet, promql_expr_test=[never(alert.name, f"{2 * case.at + 60}m")])


def resolves(alert: Alert, case: Case) -> dict[str, Any]:
    """Return the test that it ends once what made it fire has left its window."""
    bad = case.at + _HELD
    over = bad + (case.resolves or _window(alert))
    given = then(case.fires, bad, case.quiet)
    checks = [firing(alert.name, f"{bad - 1}m", 1), firing(alert.name, f"{over}m", 0)]
    return part(given, promql_expr_test=checks)


def _window(alert: Alert) -> int:
    windows = (float(n) * _MINUTES[unit] for n, unit in _WINDOW.findall(alert.expr))
    return int(max(windows, default=0)) + 2
