"""Admission: refuse a request if too many wait, or if it cannot be finished in time.

A refusal is immediate, costs the model nothing, and says when to retry.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from safelight.errors import NotReady, Overloaded, Stopping
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome, Priority

# The share of the queue that each priority may fill: the rest is kept for higher priorities.
SHARE: dict[Priority, float] = {"high": 1.0, "normal": 0.9, "low": 0.5}

_MORE = 2  # times as many may wait, for callers who have little in a queue that others fill

Refusal = tuple[str, Overloaded]
"""A value of the label `reason` of `rejected_total`, and the error."""


class Load(Protocol):
    """The engine's present load."""

    @property
    def waiting(self) -> int:
        """Return how many jobs wait."""

    @property
    def in_progress(self) -> int:
        """Return how many jobs wait or run."""

    @property
    def work_seconds(self) -> float:
        """Return the predicted time until all of them are done."""

    def arrived(self, job: Job) -> None:
        """Count a job that arrives, whether it is admitted or not."""

    def max_seconds(self, job: Job) -> float:
        """Return an upper bound of the time until the job is done: all jobs, one after another."""

    def predicted_seconds(self, job: Job, rank: int) -> float:
        """Return the predicted time until the job is done, behind all jobs up to this rank."""

    def caution(self, job: Job) -> float:
        """Return the factor, at least 1, by which predictions for such a job were too short."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many requests may wait (`queue`), and how many may wait or run (None: no limit)."""

    queue: int
    concurrent: int | None = None

    def of(self, priority: Priority, share: float) -> int:
        """Return how many may wait before a request of this priority is refused."""
        return max(1, int(self.queue * SHARE[priority] * share))


def admission(
    handle: Handler,
    load: Load,
    bounds: Bounds,
    meter: Meter,
    *,
    queue_share: Callable[[], float] = lambda: 1.0,
    clock: Callable[[], float] | None = None,
) -> Handler:
    """Refuse a job if too many wait, or if it cannot be finished by its deadline.

    `queue_share` returns the share of the queue that may be used now, 0 to 1.
    """
    meter.start_at_zero(REJECTED)

    def refuse(refusal: Refusal | None) -> None:
        if refusal is not None:
            reason, error = refusal
            meter.add(REJECTED, reason)
            raise error

    async def admitted(job: Job) -> Outcome:
        load.arrived(job)
        if load.in_progress:  # an idle service accepts every job, and learns what it costs
            refuse(_full(job, load, bounds, queue_share()))
            now = (clock or asyncio.get_running_loop().time)()
            predicted = _prediction(job, load, now)
            if predicted is not None:
                refuse(_too_late(job, load, now, predicted))
        try:
            return await handle(job)
        except (NotReady, Stopping) as error:
            meter.add(REJECTED, error.reason)
            raise

    return admitted


def _full(job: Job, load: Load, bounds: Bounds, share: float) -> Refusal | None:
    if bounds.concurrent is not None and load.in_progress >= bounds.concurrent:
        return "concurrency", Overloaded(
            f"{load.in_progress} requests wait or run and the limit is {bounds.concurrent}. "
            "Retry later, or raise MAX_CONCURRENT_REQUESTS.",
            max(1.0, load.work_seconds),
        )
    limit = bounds.of(job.priority, share)
    if load.waiting >= (_MORE * limit if _has_little(job, limit) else limit):
        return "queue_full", Overloaded(
            f"{load.waiting} requests are waiting and the limit is {limit}. "
            "Retry later, or raise SAFELIGHT_QUEUE_LIMIT.",
            max(1.0, load.work_seconds),
        )
    return None


def _has_little(job: Job, limit: int) -> bool:
    """Return whether others fill the queue, and the caller has less than half its share of it."""
    return job.callers > 1 and job.own <= max(1, limit // (2 * job.callers))


def _prediction(job: Job, load: Load, now: float) -> float | None:
    """Return in how many seconds the job ends; None if it is in time whatever the batches are."""
    if load.max_seconds(job) <= job.deadline - now:
        return None
    return load.predicted_seconds(job, job.rank)


def _too_late(job: Job, load: Load, now: float, predicted: float) -> Refusal | None:
    """Refuse a job that would miss its deadline."""
    remaining, needed = job.deadline - now, predicted * load.caution(job)
    if needed <= remaining:
        return None
    return "too_late", Overloaded(
        f"The response would be ready in {needed:.1f} seconds and your timeout is in "
        f"{max(0, remaining):.1f}. Retry later, or wait longer (X-Request-Timeout).",
        max(1.0, needed - remaining),
    )
