"""Diagnosis as JSON data, for `--json` and for the HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

from safelight.diagnosis.diagnose import worst
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Exhibit, Finding
from safelight.diagnosis.prometheus import Prometheus
from safelight.units import counted

DOCS = "docs/diagnosis.md"


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
            return f"{name}: {worst(self.findings).word}, {_lower(causes[0].check.title)}"
        if self.evidence.requests == 0:
            return f"{name}: no findings; no requests in the window"
        return f"{name}: healthy, {counted(self.evidence.requests, 'request')} in the window"


class ExhibitData(TypedDict):
    """One piece of evidence as JSON."""

    says: str
    query: NotRequired[str]
    link: NotRequired[str]


class FindingData(TypedDict):
    """One finding as JSON."""

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


def sentence(text: str) -> str:
    """Return a verdict as a sentence. A name at its beginning keeps its case."""
    first = text.partition(" ")[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text) + "."


def _lower(title: str) -> str:
    return title if title.startswith(("PyTorch", "GPU")) else title[:1].lower() + title[1:]


def when(at: float) -> str:
    """Return a time in ISO 8601 format, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _finding(finding: Finding, at: float, prometheus: Prometheus | None) -> FindingData:
    check, sign = finding.check, finding.sign
    return {
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


def _exhibit(exhibit: Exhibit, at: float, prometheus: Prometheus | None) -> ExhibitData:
    data: ExhibitData = {"says": exhibit.says}
    if exhibit.query:
        data["query"] = exhibit.query
    if exhibit.query and prometheus is not None:
        data["link"] = prometheus.link(exhibit.query, at)
    return data
