"""A diagnosis as data: what `--json` prints, and what the page and the terminal are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from safelight.diagnosis.confidence import counted
from safelight.diagnosis.diagnose import worst
from safelight.diagnosis.evidence import Evidence
from safelight.diagnosis.finding import Exhibit, Finding
from safelight.diagnosis.prometheus import Prometheus

DOCS = "docs/diagnosis.md"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is said of one service."""

    evidence: Evidence
    findings: Sequence[Finding]

    @property
    def headline(self) -> str:
        """Return the whole in one line."""
        service = self.evidence.service
        name = f"{service.job} ({service.namespace})"
        causes = [f for f in self.findings if f.sign.severity and not f.because]
        if causes:
            return f"{name}: {worst(self.findings).word}, {_small(causes[0].check.title)}"
        if self.evidence.requests == 0:
            return f"{name}: nothing is wrong that can be seen; nobody asked anything"
        return f"{name}: all is well, by {counted(self.evidence.requests, 'request')}"


def as_data(diagnosis: Diagnosis, prometheus: Prometheus | None) -> dict[str, Any]:
    """Return a diagnosis as plain data; links open Prometheus, if it still runs, with the curve."""
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
    """Return a verdict as a sentence; a name at its beginning stays as it is."""
    first = text.partition(" ")[0]
    return (text[:1].upper() + text[1:] if first.isalpha() else text) + "."


def _small(title: str) -> str:
    return title if title.startswith("PyTorch") else title[:1].lower() + title[1:]


def when(at: float) -> str:
    """Return a time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _finding(finding: Finding, at: float, prometheus: Prometheus | None) -> dict[str, Any]:
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


def _exhibit(exhibit: Exhibit, at: float, prometheus: Prometheus | None) -> dict[str, str]:
    told = {"says": exhibit.says}
    if exhibit.query:
        told["query"] = exhibit.query
    if exhibit.query and prometheus is not None:
        told["link"] = prometheus.link(exhibit.query, at)
    return told
