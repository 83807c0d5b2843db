"""Which of the jobs that are prepared the model makes next. Arithmetic only.

The next batch is the most urgent job and those of its key, as many as pay; of jobs that cannot all
be in time, as many as can.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.models.backend import Work
from safelight.telemetry.timeline import Timeline

Cost = tuple[float, float]


@dataclass(frozen=True, slots=True)
class About:
    """What a job's picture is judged by: of which request, of which type, how much it must keep."""

    request_id: str = ""
    instruction_type: str = NO_INSTRUCTION
    keeps: float = 0.0


@dataclass(slots=True, eq=False)
class Prepared:
    """A job that is ready for the model; `due` is its deadline on this process's clock.

    `entropy` is that of the background of the picture sent in, in bits.
    """

    id: str
    key: str
    rank: int
    number: int
    due: float
    cap: int
    cost: Cost
    alone: bool
    size: tuple[int, int]
    timeline: Timeline
    about: About = field(default_factory=About)
    work: Work | None = None
    entropy: float | None = None

    @property
    def urgency(self) -> tuple[int, float, int]:
        """Return what jobs are ordered by: priority, then deadline, then arrival."""
        return self.rank, self.due, self.number


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs for one call of the model, why there are not more, and those that come too late."""

    jobs: list[Prepared]
    stop_reason: str
    late: list[Prepared]


def choose(
    prepared: list[Prepared], now: float, limit: Callable[[int], int] = lambda waiting: waiting
) -> Batch:
    """Return the next batch; jobs whose deadline has passed are late, and cost nothing.

    `limit` tells how many of those that could be made together are taken.
    """
    late = _late(prepared, now)
    gone = {job.id for job in late}
    waiting = sorted((job for job in prepared if job.id not in gone), key=lambda job: job.urgency)
    if not waiting:
        return Batch([], "queue_empty", late)
    head = waiting[0]
    if head.alone:
        return Batch([head], "alone", late)
    mates = [job for job in waiting if job.key == head.key and not job.alone]
    most = min(head.cap, limit(len(mates)))
    fitting = _in_time(mates, most, head.cost, now)
    if len(fitting) < min(len(mates), most):
        return Batch(fitting, "deadline", late)
    if len(fitting) == head.cap:
        return Batch(fitting, "cap", late)
    return Batch(fitting, "overlap" if len(fitting) < len(mates) else "queue_empty", late)


def _late(prepared: list[Prepared], now: float) -> list[Prepared]:
    """Return the jobs that nobody will get an answer to in time.

    A job that could be in time only if the prediction were wrong gives way where others wait; alone
    it is tried, and teaches what it costs.
    """
    hopeless = [job for job in prepared if job.due <= now + sum(job.cost)]
    return (
        hopeless if len(hopeless) < len(prepared) else [job for job in hopeless if job.due <= now]
    )


def _in_time(jobs: list[Prepared], most: int, cost: Cost, now: float) -> list[Prepared]:
    """Return the batch of at most so many that lets most of the jobs be in time.

    Where not all can be, small batches for those in a hurry would make those behind them late, and
    so on for ever: then some of the most urgent give way.
    """
    first = _batch(jobs, most, cost, now)
    if len(first) == min(len(jobs), most):
        return first
    alike = sum(job.rank == jobs[0].rank for job in jobs)  # they give way to their like only
    # Few numbers are tried: with all of them, hundreds of jobs would take a device's time.
    numbers = [0, *(2**power for power in range(alike.bit_length()) if 2**power < alike)]
    gone = max(numbers, key=lambda number: _served(jobs[number:], most, cost, now))
    return _batch(jobs[gone:], most, cost, now)


def _batch(jobs: list[Prepared], most: int, cost: Cost, now: float) -> list[Prepared]:
    """Return as many of the jobs as can be made at once without making one of them late.

    Jobs that would be late even alone hold nobody back: what is predicted may be wrong.
    """
    a, b = cost
    batch: list[Prepared] = []
    soonest = inf
    for job in jobs[:most]:
        soonest = min(soonest, job.due if job.due >= now + a + b else inf)
        if batch and now + a + b * (len(batch) + 1) > soonest:
            break
        batch.append(job)
    return batch


def _served(jobs: list[Prepared], most: int, cost: Cost, now: float) -> int:
    """Return how many of the jobs are in time if batches as large as can be follow each other."""
    a, b = cost
    served = 0
    while jobs := [job for job in jobs if job.due >= now + a + b]:
        batch = _batch(jobs, most, cost, now)
        now += a + b * len(batch)
        served += len(batch)
        jobs = jobs[len(batch) :]
    return served


def prepared(fields: dict[str, Any], number: int, clock: Callable[[], float]) -> Prepared:
    """Return a job as its message tells of it, without its work yet."""
    width, height = fields["size"]
    a, b = fields["cost"]
    return Prepared(
        fields["id"],
        fields["key"],
        fields["rank"],
        number,
        clock() + fields["left_seconds"],
        fields["cap"],
        (a, b),
        fields["alone"],
        (width, height),
        Timeline(),
        About(**fields["about"]),
    )
