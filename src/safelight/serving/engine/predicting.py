"""How long jobs will take: what admission, fairness and the metrics ask the engine."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from math import inf

from safelight.metrics.catalog import QUEUE_DEPTH, QUEUE_OLDEST, QUEUED_WORK
from safelight.metrics.registry import Meter
from safelight.serving.engine.aging import Aging
from safelight.serving.engine.backlog import Backlog
from safelight.serving.engine.curve import Curves
from safelight.serving.engine.plan import Pace, end
from safelight.serving.engine.pool import Pool
from safelight.serving.engine.queue_entry import QueueEntry
from safelight.serving.job import PRIORITIES, Job, Key, Priority
from safelight.serving.statistics import conservative_mean

_DELAY_FACTOR_LIMIT = 3.0
_DELAY_HALF_SECONDS = 120.0  # without jobs that show it, half of a delay is forgotten in this time
_PLANNED_BATCHES = 8  # of a job's key before it: with more, they are not planned one by one


class Predicting:
    """The engine's present load, and predictions. `limit` returns the largest batch allowed now."""

    def __init__(self, pool: Pool, meter: Meter, limit: Callable[[], int]) -> None:
        self._pool = pool
        self._limit = limit
        self._backlog = Backlog()
        self._aging = Aging(self._backlog)
        self.curves = Curves()
        self._oldest_seconds = 0.0
        self._queued_work_seconds = dict.fromkeys(PRIORITIES, 0.0)
        self.delivery_seconds = 0.0  # from the end of a batch to its answers
        self._delay_factor, self._delay_at = 1.0, 0.0  # how much longer than predicted jobs took
        meter.child(QUEUE_DEPTH).set_function(lambda: self.waiting)
        # As of the last `update_metrics`: a scrape's thread must not walk the entries.
        meter.child(QUEUE_OLDEST).set_function(lambda: self._oldest_seconds if self.waiting else 0)
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
        """Update the gauges of queued work and of the oldest job; called once a second.

        Let old jobs overtake.
        """
        now = asyncio.get_running_loop().time()
        self._aging.update(now)
        arrivals = (entry.arrived_at for entry in chain(self._backlog, self._staged()))
        self._oldest_seconds = now - min(arrivals, default=now)
        before = 0.0
        for place, priority in enumerate(PRIORITIES):
            until = self._seconds_ahead(priority=place)
            self._queued_work_seconds[priority] = max(0.0, until - before)
            before = until

    def _queued_work(self, priority: Priority) -> float:
        return self._queued_work_seconds[priority] if self.in_progress else 0.0

    def max_seconds(self, job: Job) -> float:
        """Return an upper bound of the time until the job is done.

        It is as if all jobs ran one after another, and the last of them in a full batch.
        """
        curve = self.curves.of(job.key)
        alone = self.curves.max_seconds(job.key, lambda: job.units)
        last = max(alone, curve.seconds(curve.cap(self._limit())))
        return (alone * self.in_progress + last) * self.caution(job) + self.delivery_seconds

    def arrived(self, job: Job) -> None:
        """Count a job that arrives, whether it is admitted or not."""
        curve = self.curves.of(job.key)
        if curve.largest:
            curve.arrivals.add(asyncio.get_running_loop().time())

    def predicted_seconds(self, job: Job, rank: int) -> float:
        """Return the predicted time until the job is done, behind all jobs up to this rank.

        Note in the job how long it may take if its batch grows, to learn from it later.
        """
        now = asyncio.get_running_loop().time()
        if self.curves.knows(job.key):
            seconds, latest = self._planned(job, rank, now + self.delivery_seconds)
            job.expected = now, latest + self.delivery_seconds
            return seconds + self.delivery_seconds
        seconds = self._seconds_ahead(rank)
        if self._has(job.key):  # the first of its kind may be much cheaper than its size suggests
            seconds += self.seconds(job)
        job.expected = now, seconds
        return seconds

    def _planned(self, job: Job, rank: int, done_at: float) -> tuple[float, float]:
        """Return in how many seconds a batch with the job is done, and a full one.

        What is done at `done_at` is delivered now.
        """
        waiting, limit = self._waiting(rank), self._limit()
        number, units = waiting.pop(job.key, (0, 0.0))
        wait, curve = self._busy_seconds(waiting), self.curves.of(job.key)
        cap = curve.cap(limit)
        if number > _PLANNED_BATCHES * cap:  # the last batch matters little
            ahead = self.curves.seconds(job.key, number + 1, units / number, limit)
            return (wait + ahead / self._workers,) * 2
        per_second = curve.arrivals.per_second(done_at) / self._workers
        pace = Pace(curve.seconds, cap, self.caution(job), per_second, self._workers)
        due = job.deadline - done_at
        dues = [other - done_at for other in self._dues(job.key, rank)]
        planned = end(dues, due, wait, pace)
        coming = per_second * self._workers * planned[0] / 2  # half of them may overtake it
        overtaking = int(min(self._missing(job, len(dues)), coming))
        return end([*dues, *[due] * overtaking], due, wait, pace) if overtaking else planned

    def _missing(self, job: Job, ahead: int) -> int:
        """Return how many jobs of others have turns before this one and are not here yet."""
        if job.callers == 1 or job.own == 1:
            return 0
        own = 1 + sum(e.job.owner == job.owner for e in chain(self._staged(), self._backlog))
        return max(0, own * job.callers - 1 - ahead)

    def _dues(self, key: Key, rank: int) -> list[float]:
        """Return the deadlines of a key's jobs that no model has begun, in their order."""
        behind = (e for e in self._backlog if e.urgency[0] <= rank)
        urgencies = sorted(e.urgency for e in chain(self._staged(), behind) if e.key == key)
        return [due for _, due, _ in urgencies]

    def _staged(self) -> Iterator[QueueEntry]:
        """Yield the jobs at the workers that no model has begun."""
        for worker in self._pool.workers:
            yield from (entry for entry in worker.outstanding.values() if entry.waits)

    @property
    def _workers(self) -> int:
        return max(1, len(self._pool.usable()))

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
        return (1.0 if is_next else self._delay_now()) * (1 + self.curves.of(job.key).doubt)

    def reorder(self) -> None:
        """Order the waiting jobs again: their turns have changed."""
        self._backlog.reorder()

    def _compare(self, job: Job) -> None:
        """Learn how much longer a job took than admission expected.

        What batches sometimes take longer is known as doubt.
        """
        if job.expected is None:
            return
        admitted_at, seconds = job.expected
        seconds *= 1 + self.curves.of(job.key).doubt
        ratio = (asyncio.get_running_loop().time() - admitted_at) / max(seconds, 1e-3)
        self._delay(ratio)

    def _delay(self, ratio: float) -> None:
        ratio = min(max(ratio, 1.0), _DELAY_FACTOR_LIMIT)
        self._delay_factor = conservative_mean(self._delay_now(), ratio)
        self._delay_at = asyncio.get_running_loop().time()

    def _delay_now(self) -> float:
        """Return the factor. It falls with time: what it refuses cannot show that it is wrong."""
        age = asyncio.get_running_loop().time() - self._delay_at
        return float(1 + (self._delay_factor - 1) * 0.5 ** (age / _DELAY_HALF_SECONDS))

    def _late(self, entry: QueueEntry) -> None:
        """Learn from a job that is late because jobs that came later were more urgent."""
        held = (e for worker in self._pool.workers for e in worker.outstanding.values())
        if any(e.number > entry.number and e < entry for e in chain(held, self._backlog)):
            self._delay(self._delay_now() + 1)

    def _seconds_ahead(self, rank: float = inf, priority: float = inf) -> float:
        """Return the time until jobs at workers, and those waiting up to a rank, are done."""
        return self._busy_seconds(self._waiting(rank, priority))

    def _waiting(self, rank: float = inf, priority: float = inf) -> dict[Key, tuple[int, float]]:
        """Return how many jobs of each key no model has begun, and their units together.

        Jobs of one key share batches, whatever their ranks and wherever they wait.
        """
        waiting: dict[Key, tuple[int, float]] = {}
        staged = ((entry.key, 1, entry.job.units) for entry in self._staged())
        for key, number, units in chain(staged, self._backlog.ahead(rank, priority)):
            before, sum_units = waiting.get(key, (0, 0.0))
            waiting[key] = before + number, sum_units + number * units
        return waiting

    def _busy_seconds(self, waiting: Mapping[Key, tuple[int, float]]) -> float:
        """Return the time until the running batches, and these jobs, are done.

        The time that a model has already spent on its batch is subtracted.
        """
        now, seconds, limit = asyncio.get_running_loop().time(), self.curves.seconds, self._limit()
        total = sum(seconds(key, n, units / n, limit) for key, (n, units) in waiting.items())
        for worker in self._pool.workers:
            running = [
                e for e in worker.outstanding.values() if e.started and e.finished_at is None
            ]
            if running:
                needed = seconds(running[0].key, len(running), running[0].job.units, limit)
                total += max(0.0, needed - (now - worker.started_at))
        return total / self._workers
