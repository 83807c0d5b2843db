"""Run all checks on the evidence, add the active alerts, and sort: causes before effects."""

import re
from collections.abc import Sequence
from dataclasses import replace

from safelight.diagnosis.advice import fitting
from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Finding, Severity
from safelight.diagnosis.symptoms import symptom_checks

_MIN_CONFIDENCE = 0.5  # of a cause
_ADDRESS = re.compile(r"[^\s,/]+:\d+")


def judge(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Return the findings, the most likely cause first. A healthy service has none.

    Each pending or firing alert is one finding, with a check as its cause if one explains it.
    """
    everything = (*checks, *symptom_checks(evidence))
    findings = [
        Finding(fitting(check, evidence), sign)
        for check in everything
        for sign in check.judge(evidence)
    ]
    explained = [replace(finding, because=_cause(finding, findings)) for finding in findings]
    for _ in explained:  # a chain of causes has at most this many links
        explained = [_with_severity_of_effects(finding, explained) for finding in explained]
    return sorted(explained, key=_sort_key)


def worst(findings: Sequence[Finding]) -> Severity:
    """Return the highest severity of the findings."""
    return max((finding.sign.severity for finding in findings), default=Severity.INFO)


def _cause(finding: Finding, findings: Sequence[Finding]) -> str:
    """Return the name of the most confident check that explains a finding, or an empty text.

    A check comes before an alert: it says more.
    """
    causes = [
        other
        for other in findings
        if _explains(other.check, finding.check)
        and other.sign.severity > Severity.INFO
        and other.sign.confidence >= _MIN_CONFIDENCE
        and not _explains(finding.check, other.check)
        and _same_machine(finding, other)
    ]
    best = max(
        causes, key=lambda other: (other.sign.symptom is None, other.sign.confidence), default=None
    )
    return best.check.name if best else ""


def _explains(cause: Check, effect: Check) -> bool:
    return effect.name in cause.explains or cause.name in effect.causes


def _with_severity_of_effects(cause: Finding, findings: Sequence[Finding]) -> Finding:
    """Return the finding with at least the severity of its worst effect."""
    effects = (f.sign.severity for f in findings if f.because == cause.check.name)
    severity = max(cause.sign.severity, *effects, Severity.INFO)
    return replace(cause, sign=replace(cause.sign, severity=severity))


def _same_machine(one: Finding, other: Finding) -> bool:
    """Return True if both findings can be about one machine: an address is in both, or in one."""
    here, there = (set(_ADDRESS.findall(each.sign.subject)) for each in (one, other))
    return not (here and there) or bool(here & there)


def _sort_key(finding: Finding) -> tuple[bool, bool, bool, float, int, str]:
    """Return the order: causes, alerts without a known cause, effects, information."""
    sign = finding.sign
    return (
        sign.severity == Severity.INFO,
        bool(finding.because),
        sign.symptom is not None,
        -sign.confidence,
        -sign.severity,
        finding.check.name,
    )
