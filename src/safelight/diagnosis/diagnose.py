"""Run all checks on the evidence and sort the findings, causes before effects."""

from collections.abc import Sequence
from dataclasses import replace

from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Finding, Severity

_MIN_CONFIDENCE = 0.5  # of a cause


def judge(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Return the findings, the most likely cause first. A healthy service has none."""
    findings = [Finding(check, sign) for check in checks for sign in check.judge(evidence)]
    explained = [replace(finding, because=_cause(finding, findings)) for finding in findings]
    for _ in explained:  # a chain of causes has at most this many links
        explained = [_with_severity_of_effects(finding, explained) for finding in explained]
    return sorted(explained, key=_sort_key)


def worst(findings: Sequence[Finding]) -> Severity:
    """Return the highest severity of the findings."""
    return max((finding.sign.severity for finding in findings), default=Severity.INFO)


def _cause(finding: Finding, findings: Sequence[Finding]) -> str:
    """Return the name of the most confident check that explains a finding, or an empty text."""
    causes = [
        other
        for other in findings
        if finding.check.name in other.check.explains
        and other.sign.severity > Severity.INFO
        and other.sign.confidence >= _MIN_CONFIDENCE
        and other.check.name not in finding.check.explains
        and _same_machine(finding, other)
    ]
    best = max(causes, key=lambda other: other.sign.confidence, default=None)
    return best.check.name if best else ""


def _with_severity_of_effects(cause: Finding, findings: Sequence[Finding]) -> Finding:
    """Return the finding with at least the severity of its worst effect."""
    effects = (f.sign.severity for f in findings if f.because == cause.check.name)
    severity = max(cause.sign.severity, *effects, Severity.INFO)
    return replace(cause, sign=replace(cause.sign, severity=severity))


def _same_machine(one: Finding, other: Finding) -> bool:
    """Return True if both findings can be about one machine. Only addresses contain a colon."""
    subjects = {each.sign.subject for each in (one, other) if ":" in each.sign.subject}
    return len(subjects) < 2


def _sort_key(finding: Finding) -> tuple[bool, bool, float, int, str]:
    sign = finding.sign
    information = sign.severity == Severity.INFO
    return information, bool(finding.because), -sign.confidence, -sign.severity, finding.check.name
