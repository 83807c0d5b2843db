"""What a rule is made of: a name, an expression and what to say. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    service: str = ""  # the namespace that it judges; empty where it judges machines

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels that it adds to what its expression keeps."""
        own = {"service": self.service} if self.service else {}
        return {"severity": self.severity, **own}


@dataclass(frozen=True, slots=True)
class Recording:
    """Keeps an expression's result under a name of its own."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules evaluated together, in order; as often as targets are scraped, unless told."""

    name: str
    rules: tuple[Alert | Recording, ...]
    interval_seconds: int | None = None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerts among the rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Return the recordings among the rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Recording))
