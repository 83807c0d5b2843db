"""Bounds the work taken on: by number, by kind of caller, and by what can still be done in time.

A refusal costs the model nothing, comes at once, and says when to come back.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from safelight.errors import NotReady, Overloaded, Stopping
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import PRIORITIES, Handler, Job, Outcome, Priority

# How much of the queue callers may fill: the last of it is kept for who is in a hurry.
SHARE: dict[Priority, float] = {"high": 1.0, "normal": 0.9, "low": 0.5}


class Load(Protocol):
    """What is known of the work at hand."""

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""

    @property
    def under_way(self) -> int:
        """Return how many jobs wait or run."""

    @property
    def work_seconds(self) -> float:
        """Return the predicted time until all of them are done."""

    def at_most_seconds(self, job: Job) -> float:
        """Return a bound of the time until the job would be done: everything, one by one."""

    def predicted_seconds(self, job: Job, rank: int) -> float:
        """Return the time until the job would be done, behind all of at most that rank."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many requests may wait, and how many may wait or run; None is any number."""

    queue: int
    concurrent: int | None = None

    def of(self, priority: Priority, less: float) -> int:
        """Return how many may wait before one of this priority is refused."""
        return max(1, int(self.queue * SHARE[priority] * less))


def admission(
    handle: Handler,
    load: Load,
    bounds: Bounds,
    meter: Meter,
    *,
    less: Callable[[], float] = lambda: 1.0,
    clock: Callable[[], float] | None = None,
) -> Handler:
    """Refuse a job that would wait behind too many, or that could not be done by its deadline.

    `less` is the share of the queue that may be used now.
    """
    meter.start_at_zero(REJECTED)

    async def admitted(job: Job) -> Outcome:
        if load.under_way:  # a service at rest takes whatever comes, and learns what it costs
            now = (clock or asyncio.get_running_loop().time)()
            refusal = _refusal(job, load, bounds, less(), now)
            if refusal is not None:
                reason, error = refusal
                meter.add(REJECTED, reason)
                raise error
        try:
            return await handle(job)
        except (NotReady, Stopping) as refused:
            meter.add(REJECTED, refused.reason)
            raise

    return admitted


def _refusal(
    job: Job, load: Load, bounds: Bounds, less: float, now: float
) -> tuple[str, Overloaded] | None:
    if bounds.concurrent is not None and load.under_way >= bounds.concurrent:
        return "concurrency", Overloaded(
            f"{load.under_way} requests wait or run and the limit is {bounds.concurrent}. "
            "Retry later, or raise MAX_CONCURRENT_REQUESTS.",
            max(1.0, load.work_seconds),
        )
    limit = bounds.of(job.priority, less)
    if load.waiting >= limit:
        return "queue_full", Overloaded(
            f"{load.waiting} requests are waiting and the limit is {limit}. "
            "Retry later, or raise SAFELIGHT_QUEUE_LIMIT.",
            max(1.0, load.work_seconds),
        )
    left = job.deadline - now
    if load.at_most_seconds(job) <= left:
        return None  # the common case: no matter in which batches, it will be done
    needed = load.predicted_seconds(job, PRIORITIES.index(job.priority))
    if needed > left:
        return "too_late", Overloaded(
            f"The answer would be ready in {needed:.1f} seconds and you wait for "
            f"{max(0, left):.1f}. Retry later, or wait longer (X-Request-Timeout).",
            max(1.0, needed - left),
        )
    return None
