"""Separation: keep the jobs of a caller whose job failed away from those of others."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from safelight.errors import HostOutOfMemory, ModelFailure, OutOfMemory, Overloaded, WorkerLost
from safelight.metrics.catalog import REJECTED
from safelight.metrics.registry import Meter
from safelight.serving.job import Handler, Job, Outcome

SECONDS = 60.0
REFUSED_SECONDS = 30.0
_LIMIT = 1000  # callers, and kinds of jobs


def separation(handle: Handler, meter: Meter, *, clock: Callable[[], float] = monotonic) -> Handler:
    """Give a caller's jobs batches of their own for a minute after one of them failed.

    A batch that fails is run again, job by job, so an input that always fails would cost the others
    in its batches their throughput. The caller's own jobs still share batches with each other.

    A job that ends its worker twice is refused for half a minute, and so are its caller's others if
    there are other callers: they would wait while worker after worker is replaced.
    """
    callers = Callers(meter, clock)

    async def separated(job: Job) -> Outcome:
        callers.enter(job)
        try:
            return await handle(job)
        except (ModelFailure, WorkerLost) as error:
            callers.failed(job, error)
            raise
        finally:
            callers.leave(job)

    return separated


class Callers:
    """Whose jobs run, failed lately, or ended workers. Bounded."""

    def __init__(self, meter: Meter, clock: Callable[[], float]) -> None:
        self._meter = meter
        self._clock = clock
        self._running: dict[str, set[Job]] = {}
        self._apart = _Until()
        self._refused = _Until()
        self._latest = ""  # the caller of the last job
        self._seen: dict[str, float] = {}  # callers before it, and when another one followed

    def enter(self, job: Job) -> None:
        """Note that a job runs. Raises Overloaded if such jobs end workers."""
        now = self._clock()
        if self._refused and self._is_refused(job, now):
            self._meter.add(REJECTED, "circuit_open")
            raise _refusal()
        if self._apart and self._apart.has(job.owner, now):
            job.group = job.owner
        jobs = self._running.get(job.owner)
        if jobs is None:
            jobs = self._running[job.owner] = set()
        jobs.add(job)
        if job.owner != self._latest:
            self._latest, self._seen[self._latest] = job.owner, now
            if len(self._seen) > _LIMIT:
                del self._seen[next(iter(self._seen))]

    def _is_refused(self, job: Job, now: float) -> bool:
        return self._refused.has(job.owner, now) or self._refused.has(_kind(job), now)

    def leave(self, job: Job) -> None:
        """Note that a job has ended."""
        jobs = self._running.get(job.owner, set())
        jobs.discard(job)
        if not jobs:
            self._running.pop(job.owner, None)

    def failed(self, job: Job, error: Exception) -> None:
        """Keep the caller apart; refuse and stop its jobs if this one ended its worker."""
        if isinstance(error, OutOfMemory | HostOutOfMemory):
            return
        now, kind = self._clock(), _kind(job)
        self._apart.add(job.owner, now + SECONDS)
        if not isinstance(error, WorkerLost):
            return
        others = self._running.keys() | {
            o for o, left in self._seen.items() if now - left < SECONDS
        }
        is_alone = others <= {job.owner}
        self._refused.add(kind if is_alone else job.owner, now + REFUSED_SECONDS)
        for other in list(self._running.get(job.owner, ())):
            if other is not job and (not is_alone or _kind(other) == kind):
                other.control.stop(_refusal())


class _Until:
    """Times until which something holds, for so many names; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._times = OrderedDict[object, float]()

    def __bool__(self) -> bool:
        return bool(self._times)

    def has(self, name: object, now: float) -> bool:
        return self._times.get(name, 0.0) > now

    def add(self, name: object, until: float) -> None:
        self._times[name] = until
        self._times.move_to_end(name)
        if len(self._times) > _LIMIT:
            self._times.popitem(last=False)


def _kind(job: Job) -> object:
    return job.owner, hash((job.size, job.parameters, len(job.image)))


def _refusal() -> Overloaded:
    return Overloaded(
        "A job of yours ended the model's worker twice, so such jobs are refused for "
        f"{REFUSED_SECONDS:.0f} seconds. Send another input.",
        REFUSED_SECONDS,
    )
