from pathlib import Path

from safelight.rules.alerts import alerts
from safelight.rules.replaced import REPLACED, advice

NAMES = {alert.name for alert in alerts("any")}
# Every alert that was ever exported. A name leaves this list only into REPLACED.
PUBLISHED = set((Path(__file__).parent / "published.txt").read_text().split())


def test_an_alert_that_was_deleted_names_its_successor() -> None:
    assert advice("Old", NAMES, {"Old": "RequestP95High"}) == (
        "the alert 'Old' was replaced by RequestP95High"
    )


def test_every_published_alert_exists_or_has_a_successor() -> None:
    assert NAMES <= PUBLISHED, "add the new alerts to tests/rules/published.txt"
    assert set(REPLACED) == PUBLISHED - NAMES
    assert set(REPLACED.values()) <= NAMES


def test_a_misspelt_name_is_corrected_and_an_unknown_one_is_shortened() -> None:
    assert (
        advice("HostCPUBusy", NAMES) == "there is no alert 'HostCPUBusy'; did you mean HostCpuBusy?"
    )
    assert advice("x" * 500, NAMES) == f"there is no alert {'x' * 60!r}"
