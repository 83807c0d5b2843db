"""Fairness: callers take turns when several have jobs, so that none can starve the others.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): in virtual time, each job of a caller starts
when that caller's job before it is over, and never before the jobs that were served last. A job
takes as long as the device needs for it, first as predicted, then as measured; of normal priority
twice as long, of low priority four times, so among busy callers priorities are shares.

For a caller who is alone time stands still: its jobs are ordered by priority and deadline. When a
second caller comes, those that still wait get their turns, all but the first few.
"""

from collections import OrderedDict
from typing import Protocol

from safelight.serving.job import PRIORITIES, Handler, Job, Outcome, Priority

WEIGHT: dict[Priority, int] = {"high": 1, "normal": 2, "low": 4}
FIRST_JOBS = 8
_OWNER_LIMIT = 10_000
_PER_SECOND = 1_000_000  # units of virtual time


class Queue(Protocol):
    """What fairness asks the engine for."""

    def seconds(self, job: Job) -> float:
        """Return the predicted time of the job alone on the device; 0 if nothing is known."""

    def reorder(self) -> None:
        """Order the waiting jobs again: their turns have changed."""


def fairness(handle: Handler, queue: Queue) -> Handler:
    """Set each job's turn, and how many jobs its caller has beside those of others."""
    turns = Turns(queue)

    async def taking_turns(job: Job) -> Outcome:
        length = turns.begin(job)
        try:
            return await handle(job)
        finally:
            turns.end(job, length)

    return taking_turns


class Turns:
    """The callers with jobs in progress, and the virtual time."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._time = 0
        self._jobs: dict[str, int] = {}
        self._unplaced: dict[Job, None] = {}  # of a caller who is alone, after its first
        self._over: OrderedDict[str, int] = OrderedDict()  # when each caller's last job is over

    def begin(self, job: Job) -> int:
        """Count a job and set its turn; return its length, 0 if its caller is alone."""
        owner = job.owner
        job.own = self._jobs[owner] = self._jobs.get(owner, 0) + 1
        job.callers = len(self._jobs)
        if job.callers > 1:
            job.is_modest = 2 * job.own * job.callers <= sum(self._jobs.values())
            self._place_all()
            return self._place(job)
        job.control.turn = self._time  # the usual case costs little
        if job.own > FIRST_JOBS:
            job.control.turn += 1
            self._unplaced[job] = None
        return 0

    def end(self, job: Job, length: int) -> None:
        """Count the end of a job. One that never ran takes no time of its caller's."""
        owner = job.owner
        self._unplaced.pop(job, None)
        self._jobs[owner] -= 1
        if not self._jobs[owner]:
            del self._jobs[owner]
            if self._over.get(owner, 0) < self._time:
                self._over.pop(owner, None)
        if not length:
            return
        took = _length(job, job.progress.device_seconds)
        if job.progress.state == "queued":
            took = 0
        elif not job.progress.device_seconds:  # stopped while it ran
            took = length
        if took:
            self._time = max(self._time, job.control.turn)
        if owner in self._over:
            self._over[owner] += took - length

    def _place_all(self) -> None:
        """Give the jobs of a caller who was alone their turns."""
        if not self._unplaced:
            return
        waiting = sorted((j for j in self._unplaced if j.progress.state == "queued"), key=_order)
        self._unplaced.clear()
        for job in waiting[:1]:  # its first jobs count as one
            self._place(job)
        for job in waiting:
            self._place(job)
        self._queue.reorder()

    def _place(self, job: Job) -> int:
        """Set a job's turn, after the jobs of its caller; return its length."""
        length = _length(job, self._queue.seconds(job))
        start = job.control.turn = max(self._time, self._over.get(job.owner, 0))
        self._over[job.owner] = start + length
        self._over.move_to_end(job.owner)
        if len(self._over) > _OWNER_LIMIT:
            self._over.popitem(last=False)
        return length


def _order(job: Job) -> tuple[int, float]:
    return PRIORITIES.index(job.priority), job.deadline


def _length(job: Job, seconds: float) -> int:
    """Return how long a job takes in virtual time, at least one unit."""
    return WEIGHT[job.priority] * max(1, round(seconds * _PER_SECOND))
