"""The order of findings: causes come before their effects."""

import pytest

from safelight.diagnosis.diagnose import judge, worst
from safelight.diagnosis.evidence import Evidence, Reading, Service, Spans
from safelight.diagnosis.finding import Check, Finding, Severity, Sign

EMPTY = Evidence(Service("a", "b"), 0.0, Spans(), Reading())


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
    return [(finding.check.name, finding.because) for finding in judge(EMPTY, checks)]


def test_a_symptom_comes_after_its_cause_even_with_higher_confidence() -> None:
    cause, symptom = check("cause", 0.6, explains=("symptom",)), check("symptom", 0.95)

    assert order(symptom, cause) == [("cause", ""), ("symptom", "cause")]


def test_the_cause_with_higher_confidence_comes_first() -> None:
    assert order(check("a", 0.6), check("b", 0.8)) == [("b", ""), ("a", "")]


@pytest.mark.parametrize(
    "cause",
    [
        check("cause", 0.49, explains=("symptom",)),
        check("cause", 0.9, explains=("symptom",), severity=Severity.INFO),
    ],
)
def test_a_finding_of_low_confidence_or_severity_explains_no_other(cause: Check) -> None:
    assert ("symptom", "") in order(cause, check("symptom", 0.7))


def test_two_findings_that_explain_each_other_are_both_causes() -> None:
    both = check("a", 0.7, explains=("b",)), check("b", 0.8, explains=("a",))

    assert order(*both) == [("b", ""), ("a", "")]


def test_information_comes_last() -> None:
    assert order(check("a", 0.95, severity=Severity.INFO), check("b", 0.5))[-1][0] == "a"


def test_the_worst_severity_of_no_findings_is_information() -> None:
    findings = [Finding(each, sign) for each in (check("a", 0.5),) for sign in each.judge(EMPTY)]

    assert worst([]) is Severity.INFO
    assert worst(findings) is Severity.WARNING
