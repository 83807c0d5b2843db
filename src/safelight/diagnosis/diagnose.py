"""Goes through the checks, and puts causes before what follows from them."""

from collections.abc import Sequence
from dataclasses import replace

from safelight.diagnosis.checks.table import CHECKS
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Check, Finding, Severity

_BELIEVED = 0.5


def judge(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Return what is wrong, the most likely cause first; nothing where all is well."""
    found = [Finding(check, sign) for check in checks for sign in check.judge(evidence)]
    explained = [replace(finding, because=_cause(finding, found)) for finding in found]
    for _ in explained:  # a chain of causes is no longer than this
        explained = [_as_bad_as_its_effects(finding, explained) for finding in explained]
    return sorted(explained, key=_place)


def worst(findings: Sequence[Finding]) -> Severity:
    """Return the highest severity found."""
    return max((finding.sign.severity for finding in findings), default=Severity.INFO)


def _cause(finding: Finding, found: Sequence[Finding]) -> str:
    """Return the surest other check that explains a finding, if one does."""
    causes = [
        other
        for other in found
        if finding.check.name in other.check.explains
        and other.sign.severity > Severity.INFO
        and other.sign.confidence >= _BELIEVED
        and other.check.name not in finding.check.explains
        and _together(finding, other)
    ]
    best = max(causes, key=lambda other: other.sign.confidence, default=None)
    return best.check.name if best else ""


def _as_bad_as_its_effects(cause: Finding, found: Sequence[Finding]) -> Finding:
    """Return a finding as severe as the worst that follows from it."""
    effects = (f.sign.severity for f in found if f.because == cause.check.name)
    severity = max(cause.sign.severity, *effects, Severity.INFO)
    return replace(cause, sign=replace(cause.sign, severity=severity))


def _together(one: Finding, other: Finding) -> bool:
    """Tell whether two findings may be of the same machine: an address has a colon."""
    subjects = {each.sign.subject for each in (one, other) if ":" in each.sign.subject}
    return len(subjects) < 2


def _place(finding: Finding) -> tuple[bool, bool, float, int, str]:
    sign = finding.sign
    told = sign.severity == Severity.INFO
    return told, bool(finding.because), -sign.confidence, -sign.severity, finding.check.name
