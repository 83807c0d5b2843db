"""Accuracy of the diagnosis: random faults are found, and healthy services have no warnings."""

from pathlib import Path

import pytest

from safelight.diagnosis.checks.table import CHECKS
from tests.languages import untold
from tests.truth import faults
from tests.truth.report import AMONG_THREE, FIRST, LATE, complaints
from tests.truth.trial import Verdict, run_set


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """Return the verdicts on the judging set, simulated once in a real Prometheus."""
    folder: Path = tmp_path_factory.mktemp("truth")
    return run_set("judging", folder)


def faulty(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.scene.cause]


def test_there_are_enough_faults_and_healthy_services(verdicts: list[Verdict]) -> None:
    assert len(faulty(verdicts)) >= 24
    assert len(verdicts) - len(faulty(verdicts)) >= 12


def test_the_right_cause_comes_first_in_90_percent(verdicts: list[Verdict]) -> None:
    missed = [(v.scene.name, v.warnings) for v in faulty(verdicts) if not v.first]

    assert len(missed) <= (1 - FIRST) * len(faulty(verdicts)), missed


def test_the_right_cause_is_among_the_first_three_in_98_percent(verdicts: list[Verdict]) -> None:
    missed = [(v.scene.name, v.warnings) for v in faulty(verdicts) if not v.among_three]

    assert len(missed) <= (1 - AMONG_THREE) * len(faulty(verdicts)), missed


def test_a_healthy_service_has_no_warnings(verdicts: list[Verdict]) -> None:
    assert [(v.scene.name, v.warnings) for v in verdicts if not v.scene.cause and v.warnings] == []


def test_a_fault_is_found_within_two_scrapes_after_it_is_visible(verdicts: list[Verdict]) -> None:
    visible = [v for v in faulty(verdicts) if v.visible_seconds is not None and v.first]

    assert len(visible) >= 24
    assert [
        (v.scene.name, v.found_seconds, v.visible_seconds)
        for v in visible
        if v.late_intervals is None or v.late_intervals > LATE
    ] == []


def test_no_target_is_missed(verdicts: list[Verdict]) -> None:
    assert complaints(verdicts) == []


def test_no_text_of_a_finding_stays_in_english_for_a_chinese_reader(
    verdicts: list[Verdict],
) -> None:
    texts = {text for verdict in verdicts for text in verdict.texts}

    assert len(texts) > 300
    assert untold(texts) == []


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_every_check_has_a_fault_in_the_judging_set(name: str) -> None:
    assert name in {cause for cause, _ in faults.KINDS}
