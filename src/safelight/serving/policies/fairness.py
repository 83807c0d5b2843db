"""Fairness: callers take turns when several have jobs, so that none can starve the others.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each job of a caller starts some units of
virtual time after that caller's job before it, and never before the jobs that were served last. A
job of high priority takes one unit, and one of low priority four, so among busy callers priorities
are shares. Jobs of one unit are ordered by priority and deadline. A caller who is alone stays in
one unit, so its jobs are only ordered by priority and deadline.
"""

from collections import Counter, OrderedDict

from safelight.serving.job import Handler, Job, Outcome, Priority

UNITS: dict[Priority, int] = {"high": 1, "normal": 2, "low": 4}
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
        self._jobs: Counter[str] = Counter()
        self._last: OrderedDict[str, int] = OrderedDict()  # start of each caller's last job

    def begin(self, job: Job) -> int:
        """Count a job, and return the virtual time of its start."""
        owner, start = job.owner, self._time
        self._jobs[owner] += 1
        if len(self._jobs) > 1:
            units = UNITS[job.priority]
            start = max(start, self._last.get(owner, start - units) + units)
        self._last[owner] = start
        self._last.move_to_end(owner)
        if len(self._last) > _OWNER_LIMIT:
            self._last.popitem(last=False)
        job.turn = start
        job.own, job.callers = self._jobs[owner], len(self._jobs)
        return start

    def end(self, job: Job, start: int) -> None:
        """Count the end of a job. One that was refused takes no time of its caller's."""
        owner = job.owner
        self._jobs[owner] -= 1
        if not self._jobs[owner]:
            del self._jobs[owner]
        if job.exchange.queued:
            self._time = max(self._time, start)
        elif self._last.get(owner) == start:
            self._last[owner] = start - UNITS[job.priority]
        if owner not in self._jobs and self._last.get(owner, 0) < self._time:
            self._last.pop(owner, None)
