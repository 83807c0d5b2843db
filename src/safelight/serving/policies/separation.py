"""Separation: keep the jobs of a caller whose job failed out of the batches of others."""

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

from safelight.errors import HostOutOfMemory, ModelFailure, OutOfMemory, WorkerLost
from safelight.serving.job import Handler, Job, Outcome

SECONDS = 60.0
_OWNER_LIMIT = 1000


def separation(handle: Handler, *, clock: Callable[[], float] = monotonic) -> Handler:
    """Give a caller's jobs batches of their own for a minute after one of them failed.

    A batch that fails is run again, job by job, so an input that always fails would cost the others
    in its batches their throughput. The caller's own jobs still share batches with each other.
    """
    until: OrderedDict[str, float] = OrderedDict()

    async def separated(job: Job) -> Outcome:
        if until and until.get(job.owner, 0.0) > clock():
            job.group = job.owner
        try:
            return await handle(job)
        except (ModelFailure, WorkerLost) as error:
            if not isinstance(error, OutOfMemory | HostOutOfMemory):
                until[job.owner] = clock() + SECONDS
                until.move_to_end(job.owner)
                if len(until) > _OWNER_LIMIT:
                    until.popitem(last=False)
            raise

    return separated
