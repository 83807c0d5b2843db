"""What a diagnosis says: what is wrong, why we believe so, what else it could be, what to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from safelight.diagnosis.evidence import Evidence


class Severity(IntEnum):
    """How bad it is; the exit code of `safelight diagnose` is that of the worst."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def word(self) -> str:
        """Return the name as texts write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A piece of evidence: what it says, with its numbers, and the expression that shows it."""

    says: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class Sign:
    """That a check's fault is there: how surely, from 0 to 1, and what shows it.

    `subject` is what it is about, if not the whole service: an instance, a type, a card.
    """

    severity: Severity
    confidence: float
    verdict: str
    exhibits: tuple[Exhibit, ...]
    subject: str = ""


Judge = Callable[[Evidence], Iterator[Sign]]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong, and how it is recognised.

    `explains` names the checks whose findings follow from this one's: they come after it.
    """

    name: str
    title: str
    judge: Judge
    formula: str
    remedy: tuple[str, ...]
    experiment: str
    alternatives: tuple[str, ...] = ()
    explains: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that found its fault; `because` is the check that explains it, if one does."""

    check: Check
    sign: Sign
    because: str = ""
    links: tuple[str, ...] = field(default=())
