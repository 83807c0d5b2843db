"""Every alert fires, stays quiet and resolves, and every mutant of its expression is found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from safelight.rules.alerts import alerts
from safelight.rules.rule import Alert
from tests.rules.case import fires_and_resolves, rules_for, stays_quiet
from tests.rules.cases import CASES
from tests.rules.mutants import mutants
from tests.rules.promtool import NAMESPACE, complaint

ALERTS = alerts(NAMESPACE)


def named(alert: Alert) -> str:
    return alert.name


def complaint_about(alert: Alert, rules: Alert, folder: Path) -> str:
    """Return promtool's first complaint about an alert's cases, or an empty text."""
    proofs = (
        proof(alert, case)
        for case in CASES[alert.name]
        for proof in (fires_and_resolves, stays_quiet)
    )
    text = rules_for(rules)
    return next((error for proof in proofs if (error := complaint(folder, [proof], text))), "")


def test_every_alert_has_cases_and_a_unique_name() -> None:
    assert [alert.name for alert in ALERTS] == list(dict.fromkeys(named(a) for a in ALERTS))
    assert {alert.name for alert in ALERTS} == set(CASES)


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_an_alert_fires_at_its_time_stays_quiet_and_resolves(alert: Alert, tmp_path: Path) -> None:
    assert not complaint_about(alert, alert, tmp_path)


@pytest.mark.parametrize("alert", ALERTS, ids=named)
def test_no_mutant_of_an_alert_survives(
    alert: Alert, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    changed = list(mutants(alert))
    record_property("mutants", len(changed))
    survivors = [what for what, mutant in changed if not complaint_about(alert, mutant, tmp_path)]
    assert changed
    assert not survivors
