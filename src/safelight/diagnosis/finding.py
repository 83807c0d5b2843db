"""Data types of checks and findings: severity, evidence, confidence, remedy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from safelight.diagnosis.evidence import Evidence


class Severity(IntEnum):
    """Severity of a finding. The worst one sets the exit code of `safelight diagnose`."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """Return the name in lower case, as texts use it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One piece of evidence: a text with numbers, and the PromQL expression that shows it.

    `limit` is that of the expression's values, if the check compares them with one.
    """

    says: str
    query: str = ""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Symptom:
    """The alert behind a finding: its state, since when, and its worst value with the limit.

    `machines` names the machines or monitoring programs that it is about, if it is not about one
    service: other services then have the same symptom.
    """

    is_firing: bool
    since: float
    value: float | None = None
    limit: float | None = None
    machines: frozenset[str] = frozenset()

    @property
    def state(self) -> str:
        """Return the state in Prometheus' words."""
        return "firing" if self.is_firing else "pending"


@dataclass(frozen=True, slots=True)
class Sign:
    """Result of a check that found its fault, with a confidence from 0 to 1.

    `subject` names the affected part, if it is not the whole service: an instance or a type.
    """

    severity: Severity
    confidence: float
    verdict: str
    exhibits: tuple[Exhibit, ...]
    subject: str = ""
    symptom: Symptom | None = None


Judge = Callable[[Evidence], Iterator[Sign]]


@dataclass(frozen=True, slots=True)
class Check:
    """One possible fault, the function that finds it, and the texts that explain it.

    `explains` names the checks whose findings are effects of this fault. They are listed after it.
    `causes` names the checks and alerts that can explain an alert.
    `limits` names the limits that the check shares with alerts. The formula prints their defaults.
    """

    name: str
    title: str
    judge: Judge
    formula: str
    remedy: tuple[str, ...]
    experiment: str
    alternatives: tuple[str, ...] = ()
    explains: frozenset[str] = frozenset()
    limits: tuple[str, ...] = ()
    causes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that found its fault. `because` names the check that explains it, if there is one.

    `listed_under` names the service whose report has the same machine's symptom in full.
    """

    check: Check
    sign: Sign
    because: str = ""
    listed_under: str = ""
