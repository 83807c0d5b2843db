"""A job's place in the queue and in the hands of a worker, until it has its answer."""

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from safelight.serving.job import PRIORITIES, Job, Outcome


class Holder(Protocol):
    """Who has a job in hand."""

    def withdraw(self, ticket: "Ticket") -> None:
        """Drop the job, or stop it at its next step."""

    def follow(self, ticket: "Ticket") -> None:
        """Have every step of the job told."""


@dataclass(eq=False)
class Ticket:
    """One job under way; `holder` is who has it.

    `started` tells whether the model has it or had it, `made_at` when the model was done with it.
    """

    job: Job
    number: int
    answer: "asyncio.Future[Outcome]"
    holder: Holder | None = None
    started: bool = False
    made_at: float | None = None
    losses: int = 0
    device_seconds: float = 0.0
    gone: bool = False
    urgency: tuple[int, float, int] = field(init=False)

    def __post_init__(self) -> None:
        self.urgency = (PRIORITIES.index(self.job.priority), self.job.deadline, self.number)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """Return what its batch must agree in; a job that must be alone agrees with none."""
        return (*self.job.key, self.number) if self.job.alone else self.job.key

    def __lt__(self, other: "Ticket") -> bool:
        """Tell whether this one is more urgent."""
        return self.urgency < other.urgency
