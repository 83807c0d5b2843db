"""Diagnosis as JSON data, for `--json` and for the HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

from safelight.diagnosis.active import host_of
from safelight.diagnosis.checks.hosts import HOST_CHECKS
from safelight.diagnosis.diagnose import worst
from safelight.diagnosis.evidence import Evidence, Service
from safelight.diagnosis.finding import Exhibit, Finding, Severity, Symptom
from safelight.diagnosis.prometheus import Prometheus
from safelight.rules.files import RUNBOOKS
from safelight.units import counted, when

DOCS = "docs/diagnosis.md"
_NAMES = frozenset({"Prometheus", "Alertmanager"})
_OF_HOSTS = frozenset(check.name for check in HOST_CHECKS)
_Seen = dict[tuple[str, Severity, str], Service]  # which report has a finding on a machine


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The evidence and the findings of one service."""

    evidence: Evidence
    findings: Sequence[Finding]

    @property
    def headline(self) -> str:
        """Return a summary in one line."""
        service = self.evidence.service
        name = f"{service.job} ({service.namespace})"
        causes = [f for f in self.findings if f.sign.severity and not f.because]
        if causes:
            main = max(causes, key=lambda each: each.sign.severity)  # the first of the worst
            return f"{name}: {worst(self.findings).word}, {_lower(main.check.title)}"
        if self.evidence.requests == 0:
            return f"{name}: no findings; no requests in the window"
        return f"{name}: healthy, {counted(self.evidence.requests, 'request')} in the window"


class ExhibitData(TypedDict):
    """One piece of evidence as JSON."""

    says: str
    query: NotRequired[str]
    link: NotRequired[str]


class AlertData(TypedDict):
    """The alert behind a finding as JSON. `cause` is `unknown` or the name of a finding."""

    state: str
    since: str
    value: float | None
    limit: float | None
    cause: str


class FindingData(TypedDict):
    """One finding as JSON. `listed_under` is a service on the same machine, already reported."""

    check: str
    title: str
    severity: str
    confidence: float
    subject: str
    verdict: str
    evidence: list[ExhibitData]
    follows_from: str | None
    alternatives: list[str]
    remedy: list[str]
    next_experiment: str
    docs: str
    alert: NotRequired[AlertData]
    listed_under: NotRequired[str]


class ReportData(TypedDict):
    """The diagnosis of one service as JSON."""

    service: str
    namespace: str
    at: str
    window_seconds: int
    requests: int
    headline: str
    severity: str
    findings: list[FindingData]


def as_data(diagnosis: Diagnosis, prometheus: Prometheus | None) -> ReportData:
    """Return a diagnosis as plain data, with links to Prometheus unless it is None."""
    evidence = diagnosis.evidence
    return {
        "service": evidence.service.job,
        "namespace": evidence.service.namespace,
        "at": when(evidence.at),
        "window_seconds": evidence.spans.window_seconds,
        "requests": round(evidence.requests),
        "headline": diagnosis.headline,
        "severity": worst(diagnosis.findings).word,
        "findings": [_finding(each, evidence.at, prometheus) for each in diagnosis.findings],
    }


def each_machine_once(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Return the diagnoses, with each finding on a machine in full in the first of them only."""
    seen: _Seen = {}
    return [
        replace(each, findings=[_listed(f, each.evidence.service, seen) for f in each.findings])
        for each in diagnoses
    ]


def _listed(finding: Finding, service: Service, seen: _Seen) -> Finding:
    """Return the finding, marked if reports of other services have all its machines already."""
    severity = finding.sign.severity
    first = [
        seen.setdefault((finding.check.name, severity, machine), service)
        for machine in sorted(_machines(finding))
    ]
    if not first or service in first:
        return finding
    return replace(finding, listed_under=first[0].job)


def _machines(finding: Finding) -> frozenset[str]:
    if finding.sign.symptom:
        return finding.sign.symptom.machines
    is_of_host = finding.check.name in _OF_HOSTS and finding.sign.subject
    return frozenset({host_of(finding.sign.subject)} if is_of_host else ())


def origin_text(finding: Finding) -> str:
    """Return what explains a finding, without a period; empty for a cause."""
    if finding.listed_under:
        return f"Listed in full under {finding.listed_under}"
    if finding.because:
        return f"Follows from {finding.because}"
    return "Its cause is unknown" if finding.sign.symptom else ""


def sentence(text: str) -> str:
    """Return a verdict as a sentence. A name at its beginning keeps its case."""
    first = text.partition(" ")[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text) + "."


def _lower(title: str) -> str:
    """Return a title to continue a line. A name at its beginning keeps its case."""
    first = title.partition(" ")[0]
    is_name = first in _NAMES or not (len(first) == 1 or first[1:].islower())
    return title if is_name else title[:1].lower() + title[1:]


def _finding(finding: Finding, at: float, prometheus: Prometheus | None) -> FindingData:
    check, sign = finding.check, finding.sign
    data: FindingData = {
        "check": check.name,
        "title": check.title,
        "severity": sign.severity.word,
        "confidence": round(sign.confidence, 2),
        "subject": sign.subject,
        "verdict": sign.verdict,
        "evidence": [_exhibit(exhibit, at, prometheus) for exhibit in sign.exhibits],
        "follows_from": finding.because or None,
        "alternatives": list(check.alternatives),
        "remedy": list(check.remedy),
        "next_experiment": check.experiment,
        "docs": f"{DOCS}#{check.name.replace('_', '-')}",
    }
    if sign.symptom:
        data["alert"] = _alert(sign.symptom, finding.because)
        data["docs"] = f"{RUNBOOKS}#{check.name.lower()}"
    if finding.listed_under:
        data["listed_under"] = finding.listed_under
    return data


def _alert(symptom: Symptom, because: str) -> AlertData:
    return {
        "state": symptom.state,
        "since": when(symptom.since),
        "value": symptom.value,
        "limit": symptom.limit,
        "cause": because or "unknown",
    }


def _exhibit(exhibit: Exhibit, at: float, prometheus: Prometheus | None) -> ExhibitData:
    data: ExhibitData = {"says": exhibit.says}
    if exhibit.query:
        data["query"] = exhibit.query
    if exhibit.query and prometheus is not None:
        data["link"] = prometheus.link(exhibit.query, at)
    return data
