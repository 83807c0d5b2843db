"""The handler around both models: offer requests for copying, keep copies out of the way."""

from safelight.errors import HostOutOfMemory, ModelFailure, OutOfMemory
from safelight.serving.engine.copies import Copies
from safelight.serving.job import Handler, Job, Outcome


def shadowing(handle: Handler, copies: Copies) -> Handler:
    """Return a handler whose requests may be copied later, and are never in the way of copies."""

    async def shadowed(job: Job) -> Outcome:
        copies.enter()
        try:
            outcome = await _with_memory(handle, copies, job)
        except ModelFailure as error:
            if not isinstance(error, OutOfMemory | HostOutOfMemory):
                copies.offer(job, None)
            raise
        copies.offer(job, outcome)
        return outcome

    return shadowed


async def _with_memory(handle: Handler, copies: Copies, job: Job) -> Outcome:
    """Run a job; a second time without the second model if the device had too little memory."""
    was_tight = copies.slot.holds_memory
    try:
        return await handle(job)
    except (OutOfMemory, HostOutOfMemory) as error:
        if not (await copies.out_of_memory() or was_tight):
            raise
        if job.control.stopped is not None:
            raise job.control.stopped from error
        return await handle(job)
