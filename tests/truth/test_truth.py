"""The diagnosis is right: faults that nobody chose are found, and healthy services left alone."""

from pathlib import Path

import pytest

from safelight.diagnosis.checks.table import CHECKS
from tests.truth import faults
from tests.truth.report import AMONG_THREE, FIRST, LATE, complaints
from tests.truth.trial import Verdict, tried


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> list[Verdict]:
    """Return what is said of the judging set, played once into a real Prometheus."""
    folder: Path = tmp_path_factory.mktemp("truth")
    return tried("judging", folder)


def hurt(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.scene.cause]


def test_there_are_faults_and_healthy_times_enough_to_judge_by(verdicts: list[Verdict]) -> None:
    assert len(hurt(verdicts)) >= 24
    assert len(verdicts) - len(hurt(verdicts)) >= 12


def test_the_right_cause_comes_first_nine_times_of_ten(verdicts: list[Verdict]) -> None:
    missed = [(v.scene.name, v.said) for v in hurt(verdicts) if not v.first]

    assert len(missed) <= (1 - FIRST) * len(hurt(verdicts)), missed


def test_the_right_cause_is_hardly_ever_beyond_the_first_three(verdicts: list[Verdict]) -> None:
    missed = [(v.scene.name, v.said) for v in hurt(verdicts) if not v.among_three]

    assert len(missed) <= (1 - AMONG_THREE) * len(hurt(verdicts)), missed


def test_nothing_is_said_of_what_is_well(verdicts: list[Verdict]) -> None:
    assert [(v.scene.name, v.said) for v in verdicts if not v.scene.cause and v.said] == []


def test_a_fault_is_found_within_two_scrapes_of_its_being_visible(verdicts: list[Verdict]) -> None:
    shown = [v for v in hurt(verdicts) if v.visible_seconds is not None and v.first]

    assert len(shown) >= 24
    assert [
        (v.scene.name, v.found_seconds, v.visible_seconds)
        for v in shown
        if v.late_intervals is None or v.late_intervals > LATE
    ] == []


def test_the_figures_hold_as_make_truth_judges_them(verdicts: list[Verdict]) -> None:
    assert complaints(verdicts) == []


@pytest.mark.parametrize("name", [check.name for check in CHECKS])
def test_every_check_is_the_cause_of_a_fault_that_judges_it(name: str) -> None:
    assert name in {cause for cause, _ in faults.KINDS}
