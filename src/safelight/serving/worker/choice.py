"""Choose the model's next batch from the prepared jobs. Arithmetic only.

The batch is the most urgent job and other jobs of its key, as many as are worth it. If not all jobs
can meet their deadlines, choose so that as many as possible do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.models.backend import Work
from safelight.serving.wire.schema import JobOrder, StopReason
from safelight.telemetry.timeline import Timeline

Cost = tuple[float, float]


@dataclass(slots=True, eq=False)
class Prepared:
    """A job that is ready for the model; see `wire.schema.JobOrder`.

    `due` is its deadline on this process's clock. `entropy_bits` is the entropy of the input
    image's background.
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
    request_id: str = ""
    instruction_type: str = NO_INSTRUCTION
    min_kept_ratio: float = 0.0
    probe: bool = False
    work: Work | None = None
    entropy_bits: float | None = None

    @property
    def urgency(self) -> tuple[int, float, int]:
        """Return the sort key of jobs: priority, then deadline, then arrival."""
        return self.rank, self.due, self.number


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs for one call of the model, why there are not more, and jobs that are too late."""

    jobs: list[Prepared]
    stop_reason: StopReason
    late: list[Prepared]


def choose(
    prepared: list[Prepared], now: float, limit: Callable[[int], int] = lambda waiting: waiting
) -> Batch:
    """Return the next batch. Jobs whose deadline has passed are late and are not run.

    `limit` returns how many of the jobs of one key the batch may take.
    """
    late = _late(prepared, now)
    late_ids = {job.id for job in late}
    waiting = sorted(
        (job for job in prepared if job.id not in late_ids), key=lambda job: job.urgency
    )
    if not waiting:
        return Batch([], "queue_empty", late)
    head = waiting[0]
    if head.alone:
        return Batch([head], "alone", late)
    same_key = [job for job in waiting if job.key == head.key and not job.alone]
    size = min(head.cap, limit(len(same_key)))
    jobs = _in_time(same_key, size, head.cost, now)
    if len(jobs) < min(len(same_key), size):
        return Batch(jobs, "deadline", late)
    if len(jobs) == head.cap:
        return Batch(jobs, "cap", late)
    return Batch(jobs, "overlap" if len(jobs) < len(same_key) else "queue_empty", late)


def _late(prepared: list[Prepared], now: float) -> list[Prepared]:
    """Return the jobs that cannot meet their deadline.

    A job that could meet it only if the prediction is wrong is dropped if other jobs wait. If no
    other job waits, it is run, and shows what it costs.
    """
    late_jobs = [job for job in prepared if job.due <= now + sum(job.cost)]
    if len(late_jobs) < len(prepared):
        return late_jobs
    return [job for job in late_jobs if job.due <= now]


def _in_time(jobs: list[Prepared], size: int, cost: Cost, now: float) -> list[Prepared]:
    """Return the batch of at most `size` jobs with which most jobs meet their deadlines.

    If not all can, small batches for the urgent jobs would make the jobs behind them late, and so
    on. Then it is better to give up some of the most urgent jobs.
    """
    first = _batch(jobs, size, cost, now)
    if len(first) == min(len(jobs), size):
        return first
    same_rank = sum(job.rank == jobs[0].rank for job in jobs)  # never give up a higher priority
    # Only powers of two are tried: with all numbers, hundreds of jobs would take too long.
    skips = [0, *(2**power for power in range(same_rank.bit_length()) if 2**power < same_rank)]
    skip = max(skips, key=lambda number: _served(jobs[number:], size, cost, now))
    return _batch(jobs[skip:], size, cost, now)


def _batch(jobs: list[Prepared], size: int, cost: Cost, now: float) -> list[Prepared]:
    """Return as many of the jobs as fit into one batch without making one of them late.

    Jobs that would be late even alone do not limit the batch: the prediction may be wrong.
    """
    a, b = cost
    batch: list[Prepared] = []
    soonest = inf
    for job in jobs[:size]:
        soonest = min(soonest, job.due if job.due >= now + a + b else inf)
        if batch and now + a + b * (len(batch) + 1) > soonest:
            break
        batch.append(job)
    return batch


def _served(jobs: list[Prepared], size: int, cost: Cost, now: float) -> int:
    """Return how many jobs meet their deadlines if batches as large as possible follow."""
    a, b = cost
    served = 0
    while jobs := [job for job in jobs if job.due >= now + a + b]:
        batch = _batch(jobs, size, cost, now)
        now += a + b * len(batch)
        served += len(batch)
        jobs = jobs[len(batch) :]
    return served


def prepared(order: JobOrder, number: int, clock: Callable[[], float]) -> Prepared:
    """Return a job as ordered, without the model's input yet."""
    return Prepared(
        order.id,
        order.key,
        order.rank,
        number,
        clock() + order.remaining_seconds,
        order.cap,
        order.cost,
        order.alone,
        order.size,
        Timeline(),
        order.request_id,
        order.instruction_type,
        order.min_kept_ratio,
        order.probe,
    )
