"""Causes come before what follows from them."""

import pytest

from safelight.diagnosis.diagnose import judge, worst
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.finding import Check, Finding, Severity, Sign

NOTHING = Evidence(Service("a", "b"), 0.0, Spans(), Reading())


def check(
    name: str,
    confidence: float,
    *,
    explains: tuple[str, ...] = (),
    severity: Severity = Severity.WARNING,
) -> Check:
    sign = Sign(severity, confidence, name, ())
    return Check(name, name, lambda _: iter([sign]), "", (), "", (), frozenset(explains))


def order(*checks: Check) -> list[tuple[str, str]]:
    return [(found.check.name, found.because) for found in judge(NOTHING, checks)]


def test_a_symptom_comes_after_its_cause_however_sure_it_is() -> None:
    cause, symptom = check("cause", 0.6, explains=("symptom",)), check("symptom", 0.95)

    assert order(symptom, cause) == [("cause", ""), ("symptom", "cause")]


def test_of_two_causes_the_surer_comes_first() -> None:
    assert order(check("a", 0.6), check("b", 0.8)) == [("b", ""), ("a", "")]


@pytest.mark.parametrize(
    "cause",
    [
        check("cause", 0.49, explains=("symptom",)),
        check("cause", 0.9, explains=("symptom",), severity=Severity.INFO),
    ],
)
def test_what_is_not_believed_or_only_to_know_explains_nothing(cause: Check) -> None:
    assert ("symptom", "") in order(cause, check("symptom", 0.7))


def test_two_that_explain_each_other_stand_by_themselves() -> None:
    both = check("a", 0.7, explains=("b",)), check("b", 0.8, explains=("a",))

    assert order(*both) == [("b", ""), ("a", "")]


def test_what_is_only_to_know_comes_last() -> None:
    assert order(check("a", 0.95, severity=Severity.INFO), check("b", 0.5))[-1][0] == "a"


def test_the_worst_of_nothing_is_to_know_only() -> None:
    found = [Finding(each, sign) for each in (check("a", 0.5),) for sign in each.judge(NOTHING)]

    assert worst([]) is Severity.INFO
    assert worst(found) is Severity.WARNING
