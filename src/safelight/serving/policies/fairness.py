"""Fairness: callers take turns when several have jobs, so that none can starve the others.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): in virtual time, each job of a caller starts
when that caller's job before it is over, and never before the jobs that were served last. A job
takes its pixels times its steps; of normal priority twice as much, of low priority four times, so
among busy callers priorities are shares. For a caller who is alone time stands still: its jobs are
ordered by priority and deadline. Its first come before a second caller's, all others after them.
"""

from collections import OrderedDict

from safelight.serving.job import Handler, Job, Outcome, Priority

WEIGHT: dict[Priority, int] = {"high": 1, "normal": 2, "low": 4}
FIRST_JOBS = 8
_OWNER_LIMIT = 10_000


def fairness(handle: Handler) -> Handler:
    """Set each job's place in turn, and how many jobs its caller has beside those of others."""
    turns = Turns()

    async def taking_turns(job: Job) -> Outcome:
        start = turns.begin(job)
        try:
            return await handle(job)
        finally:
            turns.end(job, start)

    return taking_turns


class Turns:
    """The callers with jobs in progress, and the virtual time."""

    def __init__(self) -> None:
        self._time = 0
        self._jobs: dict[str, int] = {}
        self._over: OrderedDict[str, int] = OrderedDict()  # when each caller's last job is over

    def begin(self, job: Job) -> int:
        """Count a job, and return the virtual time of its start."""
        owner, start = job.owner, self._time
        job.own = self._jobs[owner] = self._jobs.get(owner, 0) + 1
        job.callers = len(self._jobs)
        if job.callers == 1:  # the usual case costs little
            start += job.own > FIRST_JOBS
        else:
            start = max(start, self._over.get(owner, start))
            self._over[owner] = start + _length(job)
            self._over.move_to_end(owner)
            if len(self._over) > _OWNER_LIMIT:
                self._over.popitem(last=False)
        job.turn = start
        return start

    def end(self, job: Job, start: int) -> None:
        """Count the end of a job. One that was refused takes no time of its caller's."""
        owner = job.owner
        self._jobs[owner] -= 1
        if not self._jobs[owner]:
            del self._jobs[owner]
            if self._over.get(owner, 0) < self._time:
                self._over.pop(owner, None)
        if job.callers == 1:
            return
        if job.exchange.queued:
            self._time = max(self._time, start)
        elif self._over.get(owner) == start + _length(job):
            self._over[owner] = start


def _length(job: Job) -> int:
    """Return how long a job takes in virtual time."""
    return WEIGHT[job.priority] * (1 + int(job.units))
