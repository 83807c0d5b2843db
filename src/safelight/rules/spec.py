"""What a rule is made of: a name, an expression and what to say. Data only."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning", "info"]

# What a text may hold; Alertmanager's reader sees the value at the time.
AS_JOB = "{{ $labels.job }}"
AS_INSTANCE = "{{ $labels.instance }}"
AS_SECONDS = "{{ $value | humanizeDuration }}"
AS_SHARE = "{{ $value | humanizePercentage }}"
AS_BYTES = "{{ $value | humanize1024 }}B"
AS_NUMBER = "{{ $value | humanize }}"


@dataclass(frozen=True, slots=True)
class Runbook:
    """One paragraph for whoever is woken: what it means, where to look, what to do."""

    means: str
    look: str
    do: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Fires once its expression has had a result for so long."""

    name: str
    expr: str
    for_seconds: int
    severity: Severity
    summary: str
    description: str
    runbook: Runbook


@dataclass(frozen=True, slots=True)
class Recording:
    """Keeps an expression's result under a name of its own."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True)
class Group:
    """Rules evaluated together, one after the other."""

    name: str
    interval_seconds: int
    rules: tuple[Alert | Recording, ...]

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts among the rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Return the recordings among the rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Recording))
