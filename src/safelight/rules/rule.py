"""Data types of rules: alerts, recordings and groups."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

Severity = Literal["critical", "warning", "info"]
Shown = Severity | Literal["none"]  # none: never shown or routed by severity

# Placeholders in the texts of alerts. Prometheus fills them in when an alert fires.
AS_JOB = "{{ $labels.job }}"
AS_INSTANCE = "{{ $labels.instance }}"
AS_SECONDS = "{{ $value | humanizeDuration }}"
AS_SHARE = "{{ $value | humanizePercentage }}"
AS_BYTES = "{{ $value | humanize1024 }}B"
AS_NUMBER = "{{ $value | humanize }}"
AS_COUNT = '{{ $value | printf "%.0f" }}'  # `increase` returns fractions


class Scope(Enum):
    """What an alert judges. Only alerts of a service differ between services."""

    SERVICE = auto()
    GPU = auto()
    HOST = auto()
    PROCESS = auto()
    MONITORING = auto()


@dataclass(frozen=True, slots=True)
class Runbook:
    """What an alert means, where to look, and what to do."""

    means: str
    look: str
    do: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert. It fires when its expression has had a result for `for_seconds`."""

    name: str
    expr: str
    for_seconds: int
    severity: Shown
    scope: Scope
    summary: str
    description: str
    runbook: Runbook
    service: str = ""  # the namespace; only with Scope.SERVICE

    @property
    def labels(self) -> dict[str, str]:
        """Return the labels that the alert adds to those of its expression."""
        service = {"service": self.service} if self.service else {}
        return {"severity": self.severity, **service}


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule: it stores the result of an expression under a new name."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated together and in order, by default at the scrape interval."""

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
