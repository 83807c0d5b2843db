"""A job's entry in the queue, from its arrival until its result."""

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from safelight.serving.job import Job, Key, Outcome


class Holder(Protocol):
    """The worker that has a job."""

    def cancel(self, entry: "QueueEntry") -> None:
        """Drop the job, or stop it at its next step."""

    def follow(self, entry: "QueueEntry") -> None:
        """Report every step of the job."""


@dataclass(eq=False)
class QueueEntry:
    """One job in progress. `holder` is the worker that has it; None while it waits.

    `started`: the model has begun with it. `finished_at`: when the model was done with it, on the
    event loop's clock. `losses` counts workers that were lost while they had the job. `removed`:
    the entry is in the heap but does not wait any more.
    """

    job: Job
    number: int
    result: "asyncio.Future[Outcome]"
    holder: Holder | None = None
    started: bool = False
    finished_at: float | None = None
    losses: int = 0
    device_seconds: float = 0.0
    removed: bool = False
    urgency: tuple[int, float, int] = field(init=False)

    def __post_init__(self) -> None:
        self.urgency = (self.job.rank, self.job.deadline, self.number)

    @cached_property
    def key(self) -> Key:
        """Return the batch key; the key of a job that must run alone is unique."""
        return (*self.job.key, self.number) if self.job.alone else self.job.key

    def __lt__(self, other: "QueueEntry") -> bool:
        """Return whether this entry is more urgent."""
        return self.urgency < other.urgency
