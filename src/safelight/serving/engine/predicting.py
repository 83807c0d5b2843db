"""How long jobs will take: what admission, fairness and the metrics ask the engine."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import inf

from safelight.metrics.catalog import QUEUE_DEPTH, QUEUED_WORK
from safelight.metrics.registry import Meter
from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.curve import Curves
from safelight.serving.engine.pool import Pool
from safelight.serving.job import PRIORITIES, Job, Key, Priority
from safelight.serving.statistics import conservative_mean

_DELAY_FACTOR_LIMIT = 3.0


class Predicting:
    """The engine's present load, and predictions. `limit` returns the largest batch allowed now."""

    def __init__(self, pool: Pool, meter: Meter, limit: Callable[[], int]) -> None:
        self._pool = pool
        self._limit = limit
        self._backlog = Backlog()
        self.curves = Curves()
        self._queued_work_seconds = dict.fromkeys(PRIORITIES, 0.0)
        self._delay_factor = 1.0  # how much longer than predicted jobs take
        meter.child(QUEUE_DEPTH).set_function(lambda: self.waiting)
        # As of the last `update_metrics`: a scrape's thread must not walk the entries.
        for name in PRIORITIES:
            meter.child(QUEUED_WORK, name).set_function(partial(self._queued_work, name))

    @property
    def waiting(self) -> int:
        """Return how many jobs wait for the model, in the queue or at a worker."""
        return len(self._backlog) + sum(worker.staged for worker in self._pool.workers)

    @property
    def in_progress(self) -> int:
        """Return how many jobs wait or run."""
        return len(self._backlog) + sum(len(worker.outstanding) for worker in self._pool.workers)

    @property
    def work_seconds(self) -> float:
        """Return the predicted time until all jobs that wait or run now are done."""
        return self._seconds_ahead()

    def update_metrics(self) -> None:
        """Update the gauge of queued work; called once a second."""
        before = 0.0
        for place, priority in enumerate(PRIORITIES):
            until = self._seconds_ahead(priority=place)
            self._queued_work_seconds[priority] = max(0.0, until - before)
            before = until

    def _queued_work(self, priority: Priority) -> float:
        return self._queued_work_seconds[priority] if self.in_progress else 0.0

    def max_seconds(self, job: Job) -> float:
        """Return an upper bound of the time until the job is done: all jobs, one after another."""
        return self.curves.max_seconds(job.key, job.units) * (self.in_progress + 1)

    def predicted_seconds(self, job: Job, rank: int) -> float:
        """Return the predicted time until the job is done, behind all jobs up to this rank."""
        ahead = self._seconds_ahead(rank)
        if not self.curves.knows(job.key) and not self._has(job.key):
            return ahead  # the first of its kind may be much cheaper than its size suggests
        return ahead + self.curves.seconds(job.key, 1, job.units, self._limit())

    def _has(self, key: Key) -> bool:
        held = (entry.key for worker in self._pool.workers for entry in worker.outstanding.values())
        return key in held or any(key == other for other, _, _ in self._backlog.ahead())

    def seconds(self, job: Job) -> float:
        """Return the predicted time of the job alone on the device; 0 if nothing is known."""
        return self.curves.seconds(job.key, 1, job.units, self._limit())

    def caution(self, job: Job) -> float:
        """Return the factor, at least 1, by which predictions for such a job were too short.

        Jobs that come later and are more urgent cause delays. None are for a caller whose turn is
        next, because it has no other job.
        """
        is_next = job.callers > 1 and job.own == 1
        return max(1.0 if is_next else self._delay_factor, 1 + self.curves.of(job.key).doubt)

    def reorder(self) -> None:
        """Order the waiting jobs again: their turns have changed."""
        self._backlog.reorder()

    def _compare(self, job: Job) -> None:
        """Learn how much longer a job took than admission predicted."""
        if job.expected is None:
            return
        admitted_at, seconds = job.expected
        ratio = (asyncio.get_running_loop().time() - admitted_at) / max(seconds, 1e-3)
        ratio = min(max(ratio, 1.0), _DELAY_FACTOR_LIMIT)
        self._delay_factor = conservative_mean(self._delay_factor, ratio)

    def _seconds_ahead(self, rank: float = inf, priority: float = inf) -> float:
        """Return the time until all jobs at the workers, and those waiting up to a rank, are done.

        The time that a model has already spent on its batch is subtracted.
        """
        now, seconds, limit = asyncio.get_running_loop().time(), self.curves.seconds, self._limit()
        waiting = self._backlog.ahead(rank, priority)
        total = sum(seconds(key, n, units, limit) for key, n, units in waiting)
        for worker in self._pool.workers:
            groups = Counter((e.key, e.job.units, e.started) for e in worker.outstanding.values())
            for (key, units, started), number in groups.items():
                needed = seconds(key, number, units, limit)
                total += max(0.0, needed - (now - worker.started_at)) if started else needed
        return total / max(1, self._pool.ready_count())
